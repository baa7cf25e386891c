#!/usr/bin/env bash
# Proves the Dockerfile without Docker: its stages are run on this machine, and have to come to the
# same files, modes, user, environment and labels as the archives of hack/build-image.sh.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/test-dockerfile.sh [DIR]

Compares with DIR/netting.tar and DIR/netting-test-app.tar (default: target/image), which
hack/build-image.sh has made of the same files: nothing is compiled anew. Needs root, or sudo, for
overlays in a mount namespace; what reads the Dockerfile are Python packages, which are installed into
target/sbom.
USAGE
}

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
cd "$(dirname "$0")/.."
directory=$(realpath "${1:-target/image}")
for image in netting netting-test-app; do
  [[ -f $directory/$image.tar ]] ||
    { printf 'hack/test-dockerfile.sh: no %s: run hack/build-image.sh first\n' "$directory/$image.tar" >&2 && exit 1; }
done
# shellcheck source=hack/image/checkers.sh
. hack/image/checkers.sh
install_checkers

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null ||
    { echo 'hack/test-dockerfile.sh: needs root for overlays' >&2 && exit 1; }
  as_root=(sudo env "PATH=$PATH" "HOME=$HOME")
  for variable in CARGO_HOME RUSTUP_HOME; do
    [[ -z ${!variable:-} ]] || as_root+=("$variable=${!variable}")
  done
fi
# Everything in it is mounted in that namespace alone, and goes with it.
work=$(mktemp -d)
trap 'rmdir "$work"' EXIT
"${as_root[@]}" unshare --mount --propagation=private -- \
  env "PATH=$checkers:$PATH" "$checkers/python" hack/image/dockerfile.py "$directory" "$work"
