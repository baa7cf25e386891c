# shellcheck shell=bash
# What runs in each pod, built as it ships. Sourced in the repository's root by whoever builds it, who
# has a function `fail` that says why and ends.

# What is built for: this machine, or what NETTING_TARGET says, such as aarch64-unknown-linux-gnu.
static_target() {
  printf '%s' "${NETTING_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}"
}

# Where build_static leaves the binaries of a profile, `release` or `debug`.
static_directory() { # PROFILE
  printf 'target/image/%s/%s' "$(static_target)" "$1"
}

# For another architecture cargo needs that one's linker (Debian: gcc-aarch64-linux-gnu,
# gcc-x86-64-linux-gnu), which crates with C in them (ring) find by its usual name too.
set_linker() {
  local target linker variable
  target=$(static_target)
  [[ $target != "$(rustc -vV | sed -n 's/^host: //p')" ]] || return 0
  linker=${target/-unknown-/-}-gcc
  command -v "$linker" >/dev/null || fail "to build for $target, $linker is needed"
  variable=${target//-/_}
  export "CARGO_TARGET_${variable^^}_LINKER=$linker"
}

# Static binaries run on any base, start without a dynamic linker, and take less memory. They get
# a directory of their own, so that other builds, with other flags, keep theirs.
build_static() { # PROFILE OPT_LEVEL PACKAGE...
  local profile=$1 opt_level=$2 flags=()
  shift 2
  [[ $profile == debug ]] || flags+=(--release)
  # The paths of this checkout and of the registry would end up in panic messages, and make the
  # binaries of two machines differ.
  local rustflags="-C target-feature=+crt-static --remap-path-prefix=$PWD=/netting"
  rustflags+=" --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  # Relocations, which a position-independent program has by the ten thousand and reads as it
  # starts, in a twentieth of their room (binutils 2.38 and glibc 2.36 or newer).
  rustflags+=" -C link-arg=-Wl,-z,pack-relative-relocs"
  set_linker
  printf 'building %s\n' "$*"
  RUSTFLAGS=$rustflags \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=$opt_level \
    cargo build --locked --target "$(static_target)" --target-dir target/image \
    "${flags[@]}" "${@/#/--package=}" --bins
}
