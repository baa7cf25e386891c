#!/usr/bin/env bash
# Proves that the workflows of .github/workflows say what GitHub understands: a release is no time to
# find out.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/test-workflows.sh

Needs node, npm and shellcheck, which it installs if they are missing. The checkers are packages of
npm, which are installed into target/workflows.
USAGE
}

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
cd "$(dirname "$0")/.."
command -v npm >/dev/null || hack/install-packages.sh nodejs npm
command -v shellcheck >/dev/null || hack/install-packages.sh shellcheck

target=${CARGO_TARGET_DIR:-target}
wanted=hack/workflows/package.json
to=$target/workflows
if ! cmp --silent "$wanted" "$to/installed.json"; then
  rm -rf "$to"
  mkdir -p "$to"
  cp "$wanted" "$to/package.json"
  npm install --prefix "$to" --silent --no-audit --no-fund --ignore-scripts
  cp "$wanted" "$to/installed.json"
fi
node hack/workflows/check.mjs "$to"
