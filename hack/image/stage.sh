#!/usr/bin/env bash
# The steps of the Dockerfile's stages, which are those of hack/build-image.sh.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/image/stage.sh toolchain ARCHITECTURE
       hack/image/stage.sh packages
       hack/image/stage.sh base IMAGE ROOT
       hack/image/stage.sh binaries ARCHITECTURE IMAGE ROOT STATUS_D [PROFILE]

ARCHITECTURE is amd64 or arm64; IMAGE is netting or netting-test-app.
USAGE
}

fail() {
  printf 'hack/image/stage.sh: %s\n' "$*" >&2
  exit 1
}

cd "$(dirname "$0")/../.."
# shellcheck source=hack/image/binaries.sh
. hack/image/binaries.sh
# shellcheck source=hack/image/contents.sh
. hack/image/contents.sh
# shellcheck source=hack/image/rootfs.sh
. hack/image/rootfs.sh
# shellcheck source=hack/image/sbom.sh
. hack/image/sbom.sh
umask 022

target_of() { # ARCHITECTURE
  case $1 in
    amd64) echo x86_64-unknown-linux-gnu ;;
    arm64) echo aarch64-unknown-linux-gnu ;;
    *) fail "there is no image for '$1': amd64 and arm64 there are" ;;
  esac
}

# A C compiler for crates with C in them, and for another architecture than this machine's what builds
# for that.
toolchain() { # ARCHITECTURE
  local target
  target=$(target_of "$1")
  if [[ $target == "$(rustc -vV | sed -n 's/^host: //p')" ]]; then
    hack/install-packages.sh gcc libc6-dev
    return
  fi
  case $1 in
    amd64) hack/install-packages.sh gcc gcc-x86-64-linux-gnu libc6-dev-amd64-cross ;;
    arm64) hack/install-packages.sh gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
  esac
  rustup target add "$target"
}

binaries_into() { # ARCHITECTURE IMAGE ROOT STATUS_D [PROFILE]
  NETTING_TARGET=$(target_of "$1")
  tag=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
  epoch=${SOURCE_DATE_EPOCH:-0}
  # C compilers would be asked anew for each date, and what they make has none.
  unset SOURCE_DATE_EPOCH
  export NETTING_TARGET tag epoch
  build_binaries "$2" "${5:-release}"
  fill_binaries "$2" "$3" "$4"
}

case "${1:-} $#" in
  'toolchain 2') toolchain "$2" ;;
  'packages 1') hack/install-packages.sh iptables ;;
  'base 3') fill_base "$2" "$3" ;;
  'binaries 5' | 'binaries 6') binaries_into "${@:2}" ;;
  *) usage >&2 && exit 1 ;;
esac
