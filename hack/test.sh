#!/usr/bin/env bash
# Runs the tests, and first installs what they need.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/test.sh [PART...]

  unit    tests within a process, and golden files
  doc     examples in the documentation
  k8s     manifests by netting, kustomize and Helm, against Kubernetes' schemas; the quickstart against
          stubs; the workflows
  netns   tests with real iptables rules in network namespaces of their own    (root or sudo)
  peers   real clients and servers, such as curl, nginx and gRPC, through sidecars (root or sudo)
  telemetry
          exporters against the programs that people run, such as Prometheus and InfluxDB,
          which it installs, with requests through two sidecars                (root or sudo)
  e2e     the whole mesh, in the sandbox or in a cluster                       (root or sudo)
  demo    hack/demo.sh, whose release build takes some minutes the first time (root or sudo)
  image   builds the container images, and proves them and the Dockerfile      (root or sudo)

Without a PART: all but image. With cargo-nextest if it's there, else with cargo test.

Environment:
  NETTING_BIN_DIR       binaries to test end to end (default: builds them)
  NETTING_KUBECONFIG    runs e2e against this API server instead of the sandbox's own
  NETTING_IMAGE, NETTING_TEST_IMAGE
                        with NETTING_KUBECONFIG: runs e2e on a whole cluster, with these images
  NEXTEST_PROFILE       ci: asks a test that fails once more, and says so (.config/nextest.toml)
USAGE
}

fail() {
  printf 'hack/test.sh: %s\n' "$*" >&2
  exit 1
}

# The tests run in other directories.
for name in NETTING_KUBECONFIG NETTING_BIN_DIR; do
  [[ -n ${!name:-} ]] || continue
  path=$(realpath -e -- "${!name}") || fail "$name is ${!name}, which isn't there"
  export "$name=$path"
done
cd "$(dirname "$0")/.."
locked=()
profile=${NEXTEST_PROFILE:-default}
if [[ -n ${CI:-} ]]; then
  locked=(--locked)
  profile=ci
fi

# Test programs of integration tests by what they need: those named netns or wire, and the sandbox's,
# make network namespaces; those named peers need the peers as well; those named backends need
# telemetry's backends; those of tests/e2e need a cluster; all others nothing.
netns_filter='binary(netns) or binary(wire) or (package(netting-sandbox) and kind(test))'
peers_filter='binary(peers)'
backends_filter='binary(backends)'
e2e_filter='package(netting-e2e) and kind(test)'
netns_programs=(netns wire)
e2e_programs=()
unit_programs=()
sort_programs() {
  local file name
  shopt -s nullglob
  for file in */tests/*.rs tests/*/tests/*.rs */tests/*/main.rs tests/*/tests/*/main.rs; do
    name=$(basename "${file%/main.rs}" .rs)
    case $file in
      tests/e2e/*) e2e_programs+=("$name") ;;
      */netns.rs | */netns/main.rs | */wire/main.rs | */peers/main.rs | */backends/main.rs) ;;
      tests/sandbox/*) netns_programs+=("$name") ;;
      *) unit_programs+=("$name") ;;
    esac
  done
}

# The same selection of packages each time, since cargo would build them anew for another one.
run_tests() { # NEXTEST_FILTER CARGO_TEST_ARGUMENT...
  local filter=$1
  shift
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run "${locked[@]}" --profile "$profile" --workspace --no-fail-fast -E "$filter"
  else
    cargo test "${locked[@]}" --workspace --no-fail-fast "$@"
  fi
}

# cargo builds as the user who asks, and starts the test programs by sudo.
run_tests_as_root() { # NEXTEST_FILTER CARGO_TEST_ARGUMENT...
  local triple
  if ((EUID != 0)); then
    triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${triple}_RUNNER=sudo --preserve-env"
  fi
  run_tests "$@"
}

need_root() { # PART
  ((EUID != 0)) || return 0
  command -v sudo >/dev/null ||
    fail "$1 makes network namespaces, which needs root or sudo; 'hack/test.sh unit doc' needs neither"
  sudo --validate || fail "$1 makes network namespaces, and sudo doesn't let you"
}

unit() {
  run_tests \
    "not ($netns_filter) and not ($peers_filter) and not ($backends_filter) and not ($e2e_filter)" \
    --lib --bins "${unit_programs[@]/#/--test=}"
}

doc() {
  cargo test "${locked[@]}" --workspace --doc --no-fail-fast
}

k8s() {
  hack/test-quickstart.sh && hack/test-workflows.sh && hack/test-manifests.sh
}

netns() {
  need_root netns
  hack/install-packages.sh iptables iproute2 util-linux procps || return
  command -v kubectl >/dev/null ||
    printf 'LEFT OUT: kubectl against the sandbox, for there is no kubectl\n' >&2
  run_tests_as_root "$netns_filter" "${netns_programs[@]/#/--test=}"
}

peers() {
  need_root peers
  hack/install-packages.sh iptables iproute2 util-linux procps curl nghttp2-client nghttp2-server \
    nginx openssl mariadb-server-core mariadb-client-core postgresql redis-server netcat-openbsd \
    vsftpd python3-venv || return
  python_peers || return
  run_tests_as_root "$peers_filter" --test=peers
}

# Python's peers, in an environment that the tests know where to find.
python_peers() {
  local venv wanted=sidecar/tests/peers/python/requirements.txt
  venv=$(target_directory)/peers/venv
  cmp --silent "$wanted" "$venv/installed.txt" && return
  python3 -m venv --clear "$venv" &&
    "$venv/bin/pip" install --quiet --requirement "$wanted" &&
    cp "$wanted" "$venv/installed.txt"
}

telemetry() {
  need_root telemetry
  hack/install-packages.sh iptables iproute2 util-linux procps prometheus influxdb \
    graphite-carbon victoria-metrics python3 python3-venv curl || return
  command -v npm >/dev/null || hack/install-packages.sh nodejs npm || return
  telemetry_backends && build_binaries || return
  run_tests_as_root "$backends_filter" --test=backends
}

# Backends that Debian doesn't have, where the tests know to find them.
telemetry_backends() {
  local from=telemetry/tests/backends to
  to=$(target_directory)/backends
  if ! cmp --silent "$from/python/requirements.txt" "$to/venv/installed.txt"; then
    python3 -m venv --clear "$to/venv" &&
      "$to/venv/bin/pip" install --quiet --requirement "$from/python/requirements.txt" &&
      cp "$from/python/requirements.txt" "$to/venv/installed.txt" || return
  fi
  if ! cmp --silent "$from/node/package.json" "$to/node/installed.json"; then
    mkdir -p "$to/node" && cp "$from/node/package.json" "$to/node/" &&
      npm install --prefix "$to/node" --silent --no-audit --no-fund --omit=optional \
        --ignore-scripts &&
      cp "$from/node/package.json" "$to/node/installed.json"
  fi
}

e2e() {
  if [[ -n ${NETTING_KUBECONFIG:-} ]]; then
    # One cluster for all of them, whose control plane some of them stop: one at a time.
    export NEXTEST_TEST_THREADS=1 RUST_TEST_THREADS=1
  fi
  if [[ -n ${NETTING_IMAGE:-} ]]; then
    # The cluster has kubelets of its own: nothing runs here but the tests, and the command that
    # users have. All packages, so that it's built as for the tests.
    [[ -n ${NETTING_BIN_DIR:-} ]] || cargo build "${locked[@]}" --workspace --bin netting || return
    run_tests "$e2e_filter" "${e2e_programs[@]/#/--test=}"
    return
  fi
  need_root e2e
  hack/install-packages.sh iptables iproute2 util-linux procps curl || return
  build_binaries || return
  run_tests_as_root "$e2e_filter" "${e2e_programs[@]/#/--test=}"
}

build_binaries() {
  [[ -z ${NETTING_BIN_DIR:-} ]] || return 0
  cargo build "${locked[@]}" --workspace --bins || return
  NETTING_BIN_DIR=$(target_directory)/debug
  export NETTING_BIN_DIR
}

target_directory() {
  cargo metadata --no-deps --format-version 1 |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

demo() {
  need_root demo
  hack/install-packages.sh iproute2 util-linux || return
  hack/test-demo.sh
}

image() {
  need_root image
  hack/install-packages.sh iptables iproute2 util-linux || return
  hack/build-image.sh && hack/test-image.sh && hack/test-dockerfile.sh
}

run_part() { # PART
  case $1 in
    unit) unit ;;
    doc) doc ;;
    k8s) k8s ;;
    netns) netns ;;
    peers) peers ;;
    telemetry) telemetry ;;
    e2e) e2e ;;
    demo) demo ;;
    image) image ;;
  esac
}

parts=("$@")
((${#parts[@]})) || parts=(unit doc k8s netns peers telemetry e2e demo)
for part in "${parts[@]}"; do
  case $part in
    unit | doc | k8s | netns | peers | telemetry | e2e | demo | image) ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && fail "there is no part '$part'" ;;
  esac
done
command -v cargo >/dev/null || fail 'cargo is missing: install a Rust toolchain (https://rustup.rs)'
sort_programs

# Errors don't end a part by themselves where its own outcome is asked for, so each part says
# `|| return` where it must not go on. One that fails doesn't keep the others from telling what they
# find.
outcomes=()
failed=0
for part in "${parts[@]}"; do
  printf '\n==> %s\n' "$part"
  started=$SECONDS
  outcome=passed
  # In a shell of its own, so that a `fail` ends the part alone.
  (run_part "$part") || { outcome=FAILED && failed=1; }
  outcomes+=("$(printf '%-9s %s in %s s' "$part" "$outcome" $((SECONDS - started)))")
done
printf '\nhack/test.sh:\n'
printf '  %s\n' "${outcomes[@]}"
exit "$failed"
