# shellcheck shell=bash
# What runs in each pod, built as it ships. Sourced in the repository's root by whoever builds it.

# Where build_static leaves the binaries of a profile, `release` or `debug`.
static_directory() { # PROFILE
  printf 'target/image/%s/%s' "$(rustc -vV | sed -n 's/^host: //p')" "$1"
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
  printf 'building %s\n' "$*"
  RUSTFLAGS=$rustflags \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=$opt_level \
    cargo build --locked --target "$(rustc -vV | sed -n 's/^host: //p')" --target-dir target/image \
    "${flags[@]}" "${@/#/--package=}" --bins
}
