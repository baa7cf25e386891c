#!/usr/bin/env bash
# Netting in a cluster of its own, on this machine: makes it with kind, builds and loads the images,
# installs, deploys a demo, and shows its traffic. Run it again at any time: it goes on from where it
# was.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/quickstart.sh [--name NAME] [--images DIR] [--delete]

  --name NAME    the kind cluster's name (default: netting)
  --images DIR   load DIR/netting.tar and DIR/netting-test-app.tar instead of building them
  --delete       take the cluster away again

Needs docker, kind and kubectl; to build, a Rust toolchain on Linux. Exit code 0 if all of it
worked, else 1 with what to do.

Environment:
  NETTING_CLI    the netting command (default: builds it)
USAGE
}

fail() {
  printf 'hack/quickstart.sh: %s\n' "$*" >&2
  exit 1
}

say() {
  printf '\n==> %s\n' "$*"
}

cd "$(dirname "$0")/.."
name=netting
images=
delete=
while (($#)); do
  case $1 in
    --name) name=${2:?--name needs a name} && shift 2 ;;
    --images) images=${2:?--images needs a directory} && shift 2 ;;
    --delete) delete=yes && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && fail "there is no option '$1'" ;;
  esac
done
[[ $name =~ ^[a-z0-9][a-z0-9.-]{0,40}$ ]] ||
  fail "'$name' is no name of a cluster: letters, digits, . and -"

# What each is needed for, and from which version on it has what is used here.
kind_min=0.20
kubectl_min=1.25

is_at_least() { # VERSION MINIMUM
  [[ $(printf '%s\n%s\n' "$2" "$1" | sort --version-sort | head -n 1) == "$2" ]]
}

have() { # COMMAND WHERE
  command -v "$1" >/dev/null || fail "$1 is missing: install it ($2), then run this again"
}

check_tools() {
  local version
  have docker https://docs.docker.com/engine/install/
  have kind https://kind.sigs.k8s.io/docs/user/quick-start/#installation
  have kubectl https://kubernetes.io/docs/tasks/tools/
  version=$(docker version --format '{{.Server.Version}}' 2>/dev/null) ||
    fail "docker doesn't answer: start it, or see whether you may use it (docker version)"
  printf 'docker   %s\n' "$version"
  version=$(kind version --quiet) || fail "kind doesn't tell its version (kind version --quiet)"
  printf 'kind     %s\n' "$version"
  is_at_least "${version#v}" $kind_min || fail "kind is $version: this needs $kind_min or later"
  version=$(kubectl version --client --output=json | sed -n 's/.*"gitVersion": *"v\([^"]*\)".*/\1/p') || true
  [[ -n $version ]] || fail "kubectl doesn't tell its version (kubectl version --client)"
  printf 'kubectl  %s\n' "$version"
  is_at_least "$version" $kubectl_min || fail "kubectl is $version: this needs $kubectl_min or later"
}

has_cluster() {
  # Not from a pipe, whose writer would fail when grep has seen enough.
  grep --fixed-strings --line-regexp --quiet -- "$name" <<<"$(kind get clusters 2>/dev/null)"
}

delete_cluster() {
  if has_cluster; then
    kind delete cluster --name "$name" ||
      fail "the cluster $name is not taken away: see above, then run this again"
  else
    printf 'there is no cluster %s: nothing to take away\n' "$name"
  fi
}

make_cluster() {
  if has_cluster; then
    printf 'the cluster %s is there already\n' "$name"
  else
    kind create cluster --name "$name" --wait 180s ||
      fail "kind made no cluster: see above; 'hack/quickstart.sh --name $name --delete' takes away what is left of it"
  fi
  kube version >/dev/null ||
    fail "the cluster $name doesn't answer: 'hack/quickstart.sh --name $name --delete' takes it away, then run this again"
}

kube() {
  kubectl --context "kind-$name" "$@"
}

build() {
  if [[ -z $images || -z ${NETTING_CLI:-} ]]; then
    command -v cargo >/dev/null ||
      fail 'cargo is missing: install a Rust toolchain (https://rustup.rs), or give --images and NETTING_CLI'
  fi
  if [[ -z $images ]]; then
    [[ $(uname -s) == Linux ]] ||
      fail 'images are built on Linux: build them there (hack/build-image.sh), and give their directory by --images'
    images=target/image
    hack/build-image.sh --out "$images" || fail 'the images are not built: see above, then run this again'
  fi
  if [[ -z ${NETTING_CLI:-} ]]; then
    cargo build --locked --package netting || fail 'the netting command is not built: see above, then run this again'
    NETTING_CLI=$(cargo metadata --no-deps --format-version 1 |
      sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/netting
  fi
}

load_images() {
  local image
  for image in netting netting-test-app; do
    [[ -f $images/$image.tar ]] ||
      fail "there is no $images/$image.tar: hack/build-image.sh --out $images makes it"
    kind load image-archive "$images/$image.tar" --name "$name" ||
      fail "the nodes don't take the image $image: see above, then run this again"
  done
}

install_netting() {
  # What the nodes were given is the only place to have the image from.
  "$NETTING_CLI" --context "kind-$name" install --image-pull-policy=Never ||
    fail "Netting is not installed: see above, then run this again"
}

deploy_demo() {
  kube apply --server-side --filename hack/quickstart/demo.yaml ||
    fail "the demo is not deployed: see above, then run this again"
  local app bare
  # Once Netting was taken away, so are their sidecars, and applying what is there makes no new pods.
  bare=$(kube --namespace netting-demo get pods --output name \
    --selector 'app in (echo,load),netting.dev/injected!=true') ||
    fail "the demo's pods can't be listed: see above, then run this again"
  if [[ -n $bare ]]; then
    kube --namespace netting-demo rollout restart deployment/echo deployment/load ||
      fail "the demo's pods get no sidecars: see above, then run this again"
  fi
  for app in echo load; do
    kube --namespace netting-demo rollout status "deployment/$app" --timeout 180s ||
      fail "the demo doesn't start: kubectl --context kind-$name -n netting-demo describe pods"
  done
}

# Of a port of the first pod of an application that has a sidecar, through the API server.
ask() { # APP PORT PATH
  local pod
  pod=$(kube --namespace netting-demo get pods --selector "app=$1,netting.dev/injected=true" \
    --output 'jsonpath={.items[0].metadata.name}')
  kube get --raw "/api/v1/namespaces/netting-demo/pods/$pod:$2/proxy/$3"
}

# Series of requests, once the first requests are in them.
requests_measured() {
  local metrics tries=30
  while ((tries--)); do
    metrics=$(ask load 15020 metrics) ||
      fail "the sidecar doesn't answer: $NETTING_CLI --context kind-$name check"
    # Not from a pipe, whose writer would fail when grep has seen enough.
    grep --max-count=12 '^http_' <<<"$metrics" && return
    sleep 1
  done
  fail 'the sidecar has measured no request yet: run this again in a moment'
}

show() {
  say 'the containers of a pod that knows nothing of Netting'
  kube --namespace netting-demo get pods --output \
    'custom-columns=POD:.metadata.name,INIT:.spec.initContainers[*].name,CONTAINERS:.spec.containers[*].name' ||
    fail "the demo's pods can't be listed: see above, then run this again"
  say 'what the client counts'
  ask load 9090 stats ||
    fail "the demo's client doesn't answer: $NETTING_CLI --context kind-$name check"
  say 'what its sidecar measures'
  requests_measured
}

what_next() {
  cat <<NEXT

Netting runs in the cluster $name. To try next:

  alias k='kubectl --context kind-$name' n='$NETTING_CLI --context kind-$name'
  n check                                     is all well?
  n stat -n netting-demo                      requests, success, latency of each workload
  n top -n netting-demo                       the same, live
  n edges -n netting-demo                     who talks to whom
  k -n netting-demo delete pod -l app=echo    the client sees no error
  k label namespace NAMESPACE netting.dev/inject=enabled && k -n NAMESPACE rollout restart deployment,statefulset,daemonset
  n uninstall                                 leaves nothing
  hack/quickstart.sh --name $name --delete    takes the cluster away
NEXT
}

check_tools
if [[ -n $delete ]]; then
  delete_cluster
  exit
fi
say "a cluster: $name"
make_cluster
say 'the images'
build
load_images
say 'Netting'
install_netting
say 'the demo'
deploy_demo
show
what_next
