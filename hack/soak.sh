#!/usr/bin/env bash
# Runs the soak for longer than the tests do, and shows what came of it: load over HTTP/1 and HTTP/2
# while endpoints come and go every second, replicas are killed and pods deleted; and what 10,000
# idle connections cost. Needs root (or sudo), for it makes network namespaces, and as many open
# files as those connections take.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/soak.sh [SECONDS]

SECONDS is how long the load lasts, 60 if it is not given.
USAGE
}

case ${1:-} in
  -h | --help)
    usage
    exit
    ;;
  *[!0-9]*)
    usage >&2
    exit 2
    ;;
esac

cd "$(dirname "$0")/.."
export NETTING_SOAK_SECONDS=${1:-60}
export NETTING_IDLE_CONNECTIONS=10000
cargo test --package netting-sidecar --test netns -- --nocapture --test-threads 1 soak:: idle::
