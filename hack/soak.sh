#!/usr/bin/env bash
# Runs the soak for longer than the tests do, and shows what came of it: load over HTTP/1 and HTTP/2
# while endpoints come and go every second, replicas are killed and pods deleted; and what thousands
# of idle connections cost. Needs root (or sudo), for it makes network namespaces.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/soak.sh [SECONDS [CONNECTIONS]]

SECONDS is how long the load lasts, 60 if it is not given. CONNECTIONS is how many are idle,
10000 if it is not given; each takes two files, of which 2000 more are needed (ulimit -Hn).
USAGE
}

for argument in "$@"; do
  case $argument in
    -h | --help)
      usage
      exit
      ;;
    '' | *[!0-9]*)
      usage >&2
      exit 2
      ;;
  esac
done

cd "$(dirname "$0")/.."
export NETTING_SOAK_SECONDS=${1:-60}
export NETTING_IDLE_CONNECTIONS=${2:-10000}
cargo test --package netting-sidecar --test netns -- --nocapture --test-threads 1 soak:: idle::
