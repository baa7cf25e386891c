#!/usr/bin/env bash
# Proves that the three ways to install Netting are one: what `netting render` prints, what
# kustomize makes of k8s/overlays, and what Helm makes of k8s/chart. And that Kubernetes takes them, by
# the schemas of each of its versions.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/test-manifests.sh

Compares what the netting command renders with kubectl kustomize and with Helm's own engine, and
validates all of it against Kubernetes' published schemas. Engine and schemas are installed as Python
packages into target/manifests (x86_64 only). Without a kubectl, or with an old one such as Debian
12's, kustomize is left out.

Environment:
  NETTING_BIN_DIR   where the netting command is (default: builds it)
  CI                if set, nothing is left out: it fails without kubectl
USAGE
}

fail() {
  printf 'hack/test-manifests.sh: %s\n' "$*" >&2
  exit 1
}

# From which version on `kubectl kustomize` is one that knows what the overlays use.
kubectl_min=1.25

# Says why kustomize can't be asked, if so.
without_kustomize() {
  local version install='install it (https://kubernetes.io/docs/tasks/tools/)'
  if ! command -v kubectl >/dev/null; then
    printf 'kubectl is missing: %s' "$install"
    return
  fi
  version=$(kubectl version --client --output=json | sed -n 's/.*"gitVersion": *"v\([^"]*\)".*/\1/p')
  [[ $(printf '%s\n%s\n' "$version" "$kubectl_min" | sort --version-sort | head -n 1) == "$kubectl_min" ]] ||
    printf 'kubectl is %s, and this needs %s or later: %s' "${version:-of no version}" "$kubectl_min" "$install"
}

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
cd "$(dirname "$0")/.."
command -v cargo >/dev/null || fail 'cargo is missing: install a Rust toolchain (https://rustup.rs)'
# Nothing that Debian has: a newcomer has the rest without it.
left_out=$(without_kustomize)
[[ -z $left_out || -z ${CI:-} ]] || fail "$left_out"
hack/install-packages.sh python3-venv

target=$(cargo metadata --no-deps --format-version 1 |
  sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
wanted=hack/manifests/requirements.txt
venv=$target/manifests/venv
if ! cmp --silent "$wanted" "$venv/installed.txt"; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --requirement "$wanted"
  cp "$wanted" "$venv/installed.txt"
fi
if [[ -z ${NETTING_BIN_DIR:-} ]]; then
  locked=()
  [[ -z ${CI:-} ]] || locked=(--locked)
  # What the end-to-end tests build too: cargo would build it anew for another selection.
  cargo build --quiet "${locked[@]}" --workspace --bins
  NETTING_BIN_DIR=$target/debug
fi
failed=0
# Of what is imported there would be compiled copies beside it.
export PYTHONDONTWRITEBYTECODE=1
kubectl=(kubectl)
[[ -z $left_out ]] || kubectl=()
"$venv/bin/python" hack/manifests/compare.py "$NETTING_BIN_DIR/netting" "${kubectl[@]}" || failed=1
"$venv/bin/python" hack/manifests/schemas.py "$NETTING_BIN_DIR/netting" || failed=1
[[ -z $left_out ]] ||
  printf '\nhack/test-manifests.sh: LEFT OUT, k8s/overlays as kustomize renders them: %s\n' "$left_out" >&2
exit "$failed"
