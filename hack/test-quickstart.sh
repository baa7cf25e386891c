#!/usr/bin/env bash
# Proves hack/quickstart.sh without a cluster: docker, kind, kubectl and netting are stubs that write
# down how they were called, and answer as they are told.
set -euo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/images"
touch "$work"/images/netting{,-test-app}.tar

# Each stub writes its call down, fails if the test says so, and answers what the real one would.
stub() { # NAME BODY
  cat >"$work/bin/$1" <<STUB
#!/usr/bin/env bash
printf '%s\n' "$1 \$*" >>"\$CALLS"
if [[ -n \${FAIL_AT:-} && "$1 \$*" == *"\$FAIL_AT"* ]]; then
  echo "stub: told to fail" >&2
  exit 1
fi
$2
STUB
  chmod +x "$work/bin/$1"
}

# shellcheck disable=SC2016  # the stubs expand their own arguments
{
  stub docker 'echo 27.0.1'
  stub kind 'case "$1 ${2:-}" in
  version*) echo "${KIND_VERSION:-0.23.0}" ;;
  "get clusters") cat "$CLUSTERS" ;;
  "create cluster") echo "$4" >>"$CLUSTERS" ;;
  "delete cluster") : >"$CLUSTERS" ;;
esac'
  stub kubectl 'case "$*" in
  "version --client"*) echo "  \"gitVersion\": \"v${KUBECTL_VERSION:-1.30.2}\"," ;;
  *jsonpath*) echo pod-1 ;;
  *injected!=true*) [[ -z ${BARE:-} ]] || echo pod/load-1 ;;
  *pod-1:9090*) echo "{\"ok\": 50}" ;;
  *pod-1:15020*) if (($(grep --count pod-1:15020 "$CALLS") <= ${UNMEASURED:-0})); then
    echo "# nothing yet"
  else
    seq --format "http_requests_total{path=\"/%.0f\"} 50" "${SERIES:-1}"
  fi ;;
esac'
  stub sleep ''
  stub netting ''
}

quickstart() { # ARGUMENT...
  env PATH="${tools:-$work/bin:$PATH}" CALLS="$work/calls" CLUSTERS="$work/clusters" \
    NETTING_CLI="${netting-$work/bin/netting}" \
    hack/quickstart.sh ${images+--images "$images"} "$@"
}
images=$work/images

# Runs it with nothing there yet, and keeps what it says.
begin() {
  : >"$work/calls"
  : >"$work/clusters"
}

check() { # SENTENCE COMMAND...
  local sentence=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    printf 'ok    %s\n' "$sentence"
  else
    failed=$((failed + 1))
    printf 'FAIL  %s\n%s\n' "$sentence" "${output//$'\n'/$'\n'      }"
  fi
}

refuses() { # WORDS ARGUMENT...
  local words=$1 output
  shift
  if output=$(quickstart "$@" 2>&1); then
    printf 'it went on:\n%s\n' "$output"
    return 1
  fi
  [[ $output == *"$words"* ]] || { printf 'no "%s" in:\n%s\n' "$words" "$output" && return 1; }
}

called() { # CALL...
  local call
  for call; do
    grep --fixed-strings --quiet -- "$call" "$work/calls" ||
      { printf 'no "%s" in:\n' "$call" && cat "$work/calls" && return 1; }
  done
}

never_called() { # CALL
  ! grep --fixed-strings -- "$1" "$work/calls"
}

in_this_order() { # CALL...
  local call line before=0
  for call; do
    line=$(grep --fixed-strings --line-number -- "$call" "$work/calls" | head -n 1 | cut -d: -f1)
    ((${line:-0} > before)) ||
      { printf '"%s" is not after line %s of:\n' "$call" "$before" && cat "$work/calls" && return 1; }
    before=$line
  done
}

says() { # WORDS ARGUMENT...
  local words=$1 output
  shift
  output=$(quickstart "$@" 2>&1) || { printf 'it failed:\n%s\n' "$output" && return 1; }
  [[ $output == *"$words"* ]] || { printf 'no "%s" in:\n%s\n' "$words" "$output" && return 1; }
}

# A PATH with nothing but the stubs, and what the script itself needs.
only_stubs() { # DIRECTORY
  local needed
  mkdir "$1"
  for needed in bash env dirname sed sort head grep cat uname; do
    ln -s "$(command -v "$needed")" "$1/$needed"
  done
  cp "$work"/bin/* "$1"
}

without() { # TOOL
  local path=$work/without-$1
  only_stubs "$path"
  rm "$path/$1"
  tools=$path refuses "$1 is missing: install it (https://"
}

# With neither images nor a command: both would have to be built.
without_cargo() {
  local path=$work/without-cargo
  only_stubs "$path"
  unset images
  tools=$path refuses 'cargo is missing: install a Rust toolchain (https://rustup.rs), or give --images' &&
    netting='' tools=$path refuses 'cargo is missing'
}

# A machine that can't build images, with cargo.
on_a_mac() {
  local path=$work/mac
  only_stubs "$path"
  ln -s /bin/true "$path/cargo"
  printf '#!/usr/bin/env bash\necho Darwin\n' >"$work/uname"
  chmod +x "$work/uname"
  mv --force "$work/uname" "$path/uname"
  unset images
  tools=$path refuses 'images are built on Linux: build them there'
}

# cargo that fails, where the command has to be built.
with_a_broken_build() {
  local path=$work/broken-build
  only_stubs "$path"
  printf '#!/usr/bin/env bash\nexit 101\n' >"$path/cargo"
  chmod +x "$path/cargo"
  netting='' tools=$path refuses 'the netting command is not built: see above'
}

begin
for tool in docker kind kubectl; do
  check "without $tool it says where to get it" without $tool
done
KIND_VERSION=0.11.1 check 'an old kind is refused by its version' refuses 'kind is 0.11.1: this needs 0.20'
KUBECTL_VERSION=1.21.0 check 'an old kubectl is refused by its version' refuses 'kubectl is 1.21.0: this needs 1.25'
FAIL_AT='docker version' check 'a docker that is not running is named' refuses "docker doesn't answer"
FAIL_AT='kind version' check "a kind that does not tell its version is refused" refuses "kind doesn't tell its version"
FAIL_AT='kubectl version' check "a kubectl that does not tell its version is refused" \
  refuses "kubectl doesn't tell its version (kubectl version --client)"
check 'a name that is not given is asked for' refuses '--name needs a name' --name
check 'a directory that is not given is asked for' refuses '--images needs a directory' --images
check 'and until then nothing was made' never_called 'kind create'
check 'without cargo there is nothing to build with' without_cargo
check 'images are built on Linux alone' on_a_mac
check 'a build that fails ends it' with_a_broken_build
begin
check 'an unknown option is refused' refuses "there is no option '--delte'" --delte
check 'a name that is none is refused' refuses 'is no name of a cluster' --name '../x'
check 'images that are not there are named' refuses 'netting.tar: hack/build-image.sh' --images "$work"

begin
check 'it goes through, and says what to try next' says 'n edges -n netting-demo'
check 'each step comes after the one that it needs' in_this_order \
  'kind create cluster --name netting' \
  'kind load image-archive' \
  'netting --context kind-netting install --image-pull-policy=Never' \
  'kubectl --context kind-netting apply --server-side --filename hack/quickstart/demo.yaml' \
  'rollout status deployment/echo' \
  'rollout status deployment/load' \
  'pods/pod-1:9090/proxy/stats' \
  'pods/pod-1:15020/proxy/metrics'
check 'both images are loaded' called 'images/netting.tar --name netting' 'images/netting-test-app.tar --name netting'
: >"$work/calls"
check 'a second run goes through as well' says 'there already'
check 'and makes no second cluster' never_called 'kind create'
check 'and restarts no pods that have sidecars' never_called 'rollout restart'
: >"$work/calls"
BARE=yes check 'pods that lost their sidecars since' says 'To try next'
check 'are made again' in_this_order 'apply --server-side' \
  'rollout restart deployment/echo deployment/load' 'rollout status deployment/echo'

# What fails, and what is said of what to do about it.
failures=(
  'kind create|kind made no cluster: see above; '"'hack/quickstart.sh --name netting --delete'"
  "kind-netting version|the cluster netting doesn't answer"
  "load image-archive|the nodes don't take the image netting: see above"
  'install --image-pull-policy|Netting is not installed: see above, then run this again'
  'apply --server-side|the demo is not deployed: see above'
  "injected!=true|the demo's pods can't be listed"
  "rollout restart|the demo's pods get no sidecars: see above"
  "status deployment/echo|the demo doesn't start: kubectl --context kind-netting -n netting-demo describe pods"
  "status deployment/load|the demo doesn't start"
  "custom-columns|the demo's pods can't be listed"
  "pod-1:9090|the demo's client doesn't answer"
  "pod-1:15020|the sidecar doesn't answer"
)
for failure in "${failures[@]}"; do
  begin
  BARE=yes FAIL_AT=${failure%%|*} check "a failure at '${failure%%|*}' ends it, and says what to do" refuses "${failure#*|}"
  BARE=yes FAIL_AT=${failure%%|*} check 'and says what failed' refuses 'told to fail'
done
begin
UNMEASURED=30 check 'a sidecar that measures nothing is told of' refuses 'has measured no request yet'
begin
UNMEASURED=3 check 'a sidecar that has measured nothing yet is asked again' says '==> Netting'
check 'a while later' in_this_order 'pods/pod-1:15020' 'sleep 1'
begin
SERIES=7000 check 'a sidecar may have measured 200 KiB' says 'path="/12"'
check 'a run after a failure goes on from there' says 'To try next'

: >"$work/calls"
FAIL_AT='kind delete' check 'a cluster that is not taken away is told of' refuses 'is not taken away: see above' --delete
check 'the cluster is taken away' says '' --delete
check 'by kind' called 'kind delete cluster --name netting'
check 'and nothing else was done' never_called 'netting --context'
: >"$work/calls"
check 'taking it away twice is no fault' says 'nothing to take away' --delete
check 'and deletes nothing' never_called 'kind delete'

begin
{ echo netting && seq --format 'other-%.0f' 20000; } >"$work/clusters"
check 'among ever so many clusters' says 'there already'
check 'the own one is found' never_called 'kind create'
check 'and taken away' says '' --delete
check 'by kind again' called 'kind delete cluster --name netting'

begin
echo other >"$work/clusters"
check 'other clusters are left alone' says 'nothing to take away' --delete
check 'an own name is used throughout' says 'kind-mine' --name mine
check 'for every call' called 'kind create cluster --name mine' 'netting --context kind-mine' 'kubectl --context kind-mine'
check 'and for none is the default' never_called 'kind-netting'

printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
