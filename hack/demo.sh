#!/usr/bin/env bash
# Shows Netting at work on this machine: a small Kubernetes in a sandbox, a meshed application under
# load, a replica that ends and one that comes. Everything runs in network, process and mount
# namespaces of its own, which end with it.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/demo.sh [--keep] [--rate REQUESTS_A_SECOND]

  --keep    leaves it running afterwards, with the commands to look around, until Ctrl-C
  --rate    requests a second (default: 200)

Needs Linux with Debian's packages, a Rust toolchain, and root or sudo. Installs iptables,
iproute2 and curl if they are missing. Exit code 0 if all of it worked, else 1 with the reason.
USAGE
}

fail() {
  printf 'hack/demo.sh: %s\n' "$*" >&2
  exit 1
}

case " $* " in
  *' -h '* | *' --help '*) usage && exit ;;
esac
cd "$(dirname "$0")/.."
# shellcheck source=hack/image/binaries.sh
. hack/image/binaries.sh
[[ $(uname -s) == Linux ]] || fail 'it needs Linux: network namespaces and iptables'
as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || fail 'it makes network namespaces, which needs root or sudo'
  sudo --validate || fail "it makes network namespaces, which needs root, and sudo doesn't let you"
  as_root=(sudo '--preserve-env=NETTING_BIN_DIR,TMPDIR')
fi
command -v cargo >/dev/null || fail 'cargo is missing: install a Rust toolchain (https://rustup.rs)'

hack/install-packages.sh iptables iproute2 curl
target=$(cargo metadata --no-deps --format-version 1 |
  sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# Whatever cluster the end-to-end tests are to run in.
unset NETTING_KUBECONFIG NETTING_IMAGE NETTING_TEST_IMAGE
printf 'building (some minutes the first time): what runs in each pod as it ships, the rest not optimised\n'
cargo build --locked --workspace --bins
cargo build --locked --package netting-e2e --example demo
build_static release 3 netting-data-plane
export NETTING_BIN_DIR=$target/demo
mkdir -p "$NETTING_BIN_DIR"
for name in sandbox catalog webhook test-app; do
  ln -f "$target/debug/netting-$name" "$NETTING_BIN_DIR"
done
for name in sidecar iptables-init; do
  ln -f "$(static_directory release)/netting-data-plane" "$NETTING_BIN_DIR/netting-$name"
done
exec "${as_root[@]}" "$target/debug/examples/demo" "$@"
