#!/usr/bin/env bash
# Proves image archives that hack/build-image.sh made: the layout and its digests, and that what
# is inside works with nothing around it, down to redirecting a pod's traffic.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/test-image.sh [DIR]

Checks DIR/netting.tar and DIR/netting-test-app.tar (default: target/image), and their bills of
materials. Needs root, or sudo, for chroot and network namespaces; the checker of the bills is a
Python package, which is installed into target/sbom.
USAGE
}

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage && exit; }
cd "$(dirname "$0")/.."
directory=$(realpath "${1:-target/image}")
# shellcheck source=hack/image/checkers.sh
. hack/image/checkers.sh
install_checkers
# The command by itself, for people, has a bill as well. Made before sudo, which may not know cargo.
bill_targets=(x86_64-unknown-linux-gnu aarch64-apple-darwin)
if [[ ${2:-} != again ]]; then
  for target in "${bill_targets[@]}"; do
    NETTING_TARGET=$target hack/sbom.sh netting >"target/sbom/$target.cdx.json"
  done
fi

if ((EUID != 0)); then
  command -v sudo >/dev/null ||
    { echo 'hack/test-image.sh: needs root for chroot and network namespaces' >&2 && exit 1; }
  exec sudo "$PWD/hack/test-image.sh" "$directory" again
fi

case $(uname -m) in
  aarch64) architecture=arm64 ;;
  *) architecture=amd64 ;;
esac
# Nodes pull it before the first pod starts: whoever makes it grow should notice.
unpacked_bytes_max=$((30 * 1000 * 1000))
passed=0
failed=0
skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command and counts it as a test; its output is shown if it fails.
check() { # SENTENCE COMMAND...
  local sentence=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    printf 'ok    %s: %s\n' "$image" "$sentence"
  else
    failed=$((failed + 1))
    printf 'FAIL  %s: %s\n%s\n' "$image" "$sentence" "${output//$'\n'/$'\n'      }"
  fi
}

# For what this machine's kernel can't do for anybody; said and counted, never silent.
skip() { # SENTENCE REASON
  skipped=$((skipped + 1))
  printf 'skip  %s: %s (%s)\n' "$image" "$1" "$2"
}

contains() { # TEXT PART
  [[ $1 == *"$2"* ]] || { printf 'no %s in:\n%s\n' "$2" "$1" && return 1; }
}

# Every digest that a JSON document names, in order, without the algorithm.
digests_in() { # FILE
  grep -o '"sha256:[0-9a-f]\{64\}"' "$1" | tr -d '"' | cut -d: -f2
}

has_digest() { # FILE DIGEST
  printf '%s  %s\n' "$2" "$1" | sha256sum --check --quiet
}

is_blob() { # DIGEST SIZE
  has_digest "$oci/blobs/sha256/$1" "$1" &&
    [[ $(stat -c %s "$oci/blobs/sha256/$1") == "$2" ]]
}

# `"digest":"sha256:…","size":…` as the documents here write it, as lines of digest and size.
descriptors_in() { # FILE
  grep -o '"digest":"sha256:[0-9a-f]\{64\}","size":[0-9]*' "$1" |
    sed 's/.*sha256:\(.*\)","size":\(.*\)/\1 \2/'
}

unpack_layout() {
  oci=$work/$image.oci
  mkdir "$oci"
  tar --extract --file "$directory/$image.tar" --directory "$oci"
}

check_layout() {
  local digest size layers=() diff_ids number
  check 'is an OCI image layout' grep -q '"imageLayoutVersion":"1.0.0"' "$oci/oci-layout"
  read -r digest size < <(descriptors_in "$oci/index.json")
  check 'index.json names the manifest by digest and size' is_blob "$digest" "$size"
  check 'has the name that containerd gives it' \
    grep -Eq "\"io.containerd.image.name\":\"ghcr.io/netting-dev/$image:[^\"]+\"" "$oci/index.json"
  manifest=$oci/blobs/sha256/$digest
  while read -r digest size; do
    check "the manifest names blob ${digest:0:12} by digest and size" is_blob "$digest" "$size"
    layers+=("$digest")
  done < <(descriptors_in "$manifest")
  config=$oci/blobs/sha256/${layers[0]}
  layers=("${layers[@]:1}")

  root=$work/$image
  mkdir "$root"
  mapfile -t diff_ids < <(digests_in "$config")
  check 'the configuration names each layer once' test "${#layers[@]}" = "${#diff_ids[@]}"
  for number in "${!layers[@]}"; do
    gzip --decompress --stdout "$oci/blobs/sha256/${layers[number]}" >"$work/layer.tar"
    check "layer $number unpacks to its diff_id" has_digest "$work/layer.tar" "${diff_ids[number]}"
    tar --extract --same-permissions --file "$work/layer.tar" --directory "$root"
  done
}

is_no_larger_than() { # BYTES
  local bytes
  bytes=$(du -sb "$root" | cut -f1)
  ((bytes <= $1)) || { printf '%s bytes unpacked, %s allowed\n' "$bytes" "$1" && return 1; }
}

is_not_writable_by_others() {
  local found
  found=$(find "$root" ! -type l ! -path "$root/tmp" \( -perm /022 -o ! -user root -o ! -group root \))
  [[ -z $found ]] || { printf '%s\n' "$found" && return 1; }
}

has_no_shell() {
  local found
  found=$(find "$root" \( -name sh -o -name bash -o -name dash -o -name busybox \))
  [[ -z $found ]] || { printf '%s\n' "$found" && return 1; }
}

check_contents() { # USER
  local label
  check "runs as user $1" grep -Fq "\"User\":\"$1\"" "$config"
  for label in title version revision created source licenses; do
    check "has the label $label" \
      grep -Eq "\"Labels\":\{[^}]*\"org.opencontainers.image.$label\":\"[^\"]+\"" "$config"
  done
  check 'is for Linux on this architecture' \
    grep -q "\"architecture\":\"$architecture\",\"os\":\"linux\"" "$config"
  check 'knows the users netting and nobody' \
    grep -qz 'netting:x:4150:4150:.*nobody:x:65534:65534:' "$root/etc/passwd"
  check 'has no shell' has_no_shell
  check 'lets nobody but root change it' is_not_writable_by_others
  if grep -q '"dev.netting.profile":"release"' "$config"; then
    check 'unpacks to under 30 MB' is_no_larger_than "$unpacked_bytes_max"
  else
    skip 'unpacks to under 30 MB' 'a debug build'
  fi
}

is_billed() { # PACKAGE...
  "$checkers/python" hack/image/check_sbom.py "$root/$bill" "$root" "$@"
}

# A bill that leaves something out, or has too much, must not pass.
refuses_a_bill_with() { # SED_SCRIPT WORDS PACKAGE...
  local script=$1 words=$2 output
  shift 2
  sed -E "$script" "$root/$bill" >"$work/wrong.cdx.json"
  ! cmp --silent "$root/$bill" "$work/wrong.cdx.json" || { echo 'nothing was changed' && return 1; }
  ! output=$("$checkers/python" hack/image/check_sbom.py "$work/wrong.cdx.json" "$root" "$@") ||
    { echo 'it passes' && return 1; }
  contains "$output" "$words"
}

check_bill() { # PACKAGE...
  bill=usr/share/doc/netting/$image.cdx.json
  check 'the bill of materials is also beside the archive' \
    cmp "$root/$bill" "$directory/$image.cdx.json"
  check 'the bill of materials is of what is in it' is_billed "$@"
  check 'a bill without a crate that is linked is refused' \
    refuses_a_bill_with '/^\{"ref"/s/"cargo:tokio@[^"]*",?//; /^\{"bom-ref":"cargo:tokio@/d' 'is in the binary, and not in the bill' "$@"
  check 'a bill with another checksum is refused' \
    refuses_a_bill_with 's/"content":"[0-9a-f]/"content":"x/' 'is not what Cargo.lock says' "$@"
  check 'a bill with a field that there is not is refused' \
    refuses_a_bill_with 's/"purl"/"url"/' 'no CycloneDX' "$@"
}

inside() { # COMMAND...
  chroot --userspec="${inside_user:-4150:4150}" "$root" "$@"
}

check_binary() { # NAME
  check "$1 --version answers" contains "$(inside "/netting/$1" --version 2>&1)" "$1 "
  check "$1 --help answers" contains "$(inside "/netting/$1" --help 2>&1)" 'Usage:'
}

is_no_program() { # NAME
  local output
  ! output=$(inside "/netting/$1" 2>&1) || { echo 'it runs' && return 1; }
  contains "$output" 'run it by the name of netting'
}

# A network namespace like a pod's (loopback, one interface with an address of each family, a
# default route), with the image's files as its root. All of it goes away with the namespaces.
in_pod() { # COMMAND...
  # shellcheck disable=SC2016  # the inner shell expands its own arguments
  unshare --net --mount -- bash -c '
    set -e
    ip link set lo up
    ip link add eth0 type veth peer name node0
    ip address add 10.244.0.2/24 dev eth0
    ip address add fd00:244::2/64 dev eth0 nodad
    ip link set eth0 up
    ip link set node0 up
    ip route add default via 10.244.0.1
    ip -6 route add default via fd00:244::1
    mount -t proc proc "$0/proc"
    exec chroot "$0" "$@"' "$root" "$@"
}

# The matches and the target that Netting uses, so that their extension modules are loaded.
redirect_rules='*nat
-A OUTPUT -p tcp -m owner --uid-owner 4150 -m comment --comment sidecar -j RETURN
-A OUTPUT -p tcp -m multiport --dports 80,8000:8010 -j REDIRECT --to-ports 15001
COMMIT'

restores_rules() { # COMMAND
  printf '%s\n' "$redirect_rules" | in_pod "/usr/sbin/$1"
}

# Kernels can be built without x_tables; then the machine's own iptables-legacy fails as well.
kernel_has_legacy() {
  unshare --net -- /usr/sbin/iptables-legacy --table nat --list-rules >/dev/null 2>&1
}

check_iptables() {
  local family
  for family in iptables ip6tables; do
    check "$family-nft is of nf_tables" \
      contains "$(in_pod "/usr/sbin/$family-nft" --version 2>&1)" '(nf_tables)'
    check "$family-legacy is legacy" \
      contains "$(in_pod "/usr/sbin/$family-legacy" --version 2>&1)" '(legacy)'
    check "$family-nft-restore loads the rules of a redirection" restores_rules "$family-nft-restore"
    if kernel_has_legacy; then
      check "$family-legacy-restore loads the rules of a redirection" \
        restores_rules "$family-legacy-restore"
    else
      skip "$family-legacy-restore loads the rules of a redirection" 'this kernel has no x_tables'
    fi
  done
  # The init container's whole work: apply, then verify by connections.
  check 'netting-iptables-init redirects a pod and verifies it' in_pod /netting/netting-iptables-init
}

for image in netting netting-test-app; do
  [[ -f $directory/$image.tar ]] ||
    { printf 'hack/test-image.sh: no %s: run hack/build-image.sh first\n' "$directory/$image.tar" >&2 && exit 1; }
  unpack_layout
  check_layout
  if [[ $image == netting ]]; then
    check_contents 4150:4150
    for binary in netting netting-iptables-init netting-sidecar netting-catalog netting-webhook; do
      check_binary "$binary"
    done
    check 'the command works without a cluster' \
      contains "$(inside /netting/netting render 2>&1)" 'kind: MutatingWebhookConfiguration'
    for program in netting-data-plane netting-control-plane; do
      check "$program by another name says which names it has" is_no_program "$program"
    done
    check_iptables
    check_bill netting-data-plane netting-control-plane
    check 'a bill without a package of Debian is refused' refuses_a_bill_with \
      's/,"deb:iptables"//; /^\{"bom-ref":"deb:iptables"/d' 'packages in the image are' \
      netting-data-plane netting-control-plane
  else
    check_contents 65534:65534
    inside_user=65534:65534 check_binary "$image"
    inside_user=65534:65534 check 'the test application runs' inside "/netting/$image" once
    check_bill "$image"
  fi
done
is_the_commands_bill() {
  local target
  for target in "${bill_targets[@]}"; do
    "$checkers/python" hack/image/check_sbom.py "target/sbom/$target.cdx.json" || return
  done
  # On macOS the C library is the system's.
  contains "$(cat target/sbom/x86_64-unknown-linux-gnu.cdx.json)" '"name":"glibc"' &&
    ! grep --quiet '"name":"glibc"' target/sbom/aarch64-apple-darwin.cdx.json
}

image=netting
check 'the command has a bill of materials, of what it is on each platform' is_the_commands_bill
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
