#!/usr/bin/env bash
# Makes the container images as OCI image archives, without Docker and without a base image:
# static binaries, and for `netting` a working iptables from this machine's Debian packages.
# The same commit, toolchain and packages give the same digests.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: hack/build-image.sh [--out DIR] [--tag TAG] [--debug] [IMAGE...]

Writes DIR/IMAGE.tar, and its bill of materials DIR/IMAGE.cdx.json, for each IMAGE: netting,
netting-test-app (default: both).

  --out DIR   where to write the archives (default: target/image)
  --tag TAG   the images' tag (default: the workspace's version)
  --debug     build without optimisation: faster to build, larger, slower

Environment:
  SOURCE_DATE_EPOCH   date of all files and of the images, in seconds since 1970 (default: the
                      last commit's)
USAGE
}

fail() {
  printf 'hack/build-image.sh: %s\n' "$*" >&2
  exit 1
}

cd "$(dirname "$0")/.."
# shellcheck source=hack/image/binaries.sh
. hack/image/binaries.sh
# shellcheck source=hack/image/contents.sh
. hack/image/contents.sh
# shellcheck source=hack/image/oci.sh
. hack/image/oci.sh
# shellcheck source=hack/image/rootfs.sh
. hack/image/rootfs.sh
# shellcheck source=hack/image/sbom.sh
. hack/image/sbom.sh

registry=ghcr.io/netting-dev
out=target/image
tag=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
profile=release
images=()
while (($#)); do
  case $1 in
    --out) out=${2:?--out needs a directory} && shift 2 ;;
    --tag) tag=${2:?--tag needs a tag} && shift 2 ;;
    --debug) profile=debug && shift ;;
    -h | --help) usage && exit ;;
    netting | netting-test-app) images+=("$1") && shift ;;
    *) usage >&2 && fail "there is no image or option '$1'" ;;
  esac
done
((${#images[@]})) || images=(netting netting-test-app)
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] ||
  fail "'$tag' is no tag: up to 128 of letters, digits, _ . and -, not beginning with . or -"

case $(uname -m) in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) fail "no image for $(uname -m): build on x86_64 or aarch64" ;;
esac
command -v cargo >/dev/null || fail 'cargo is missing: install a Rust toolchain (https://rustup.rs)'
# The image takes iptables from this machine's package.
[[ " ${images[*]} " != *' netting '* ]] || hack/install-packages.sh iptables

describe_source() {
  revision=unknown
  epoch=${SOURCE_DATE_EPOCH:-}
  if git rev-parse --verify --quiet HEAD >/dev/null 2>&1; then
    revision=$(git rev-parse HEAD)
    [[ -z $(git status --porcelain 2>/dev/null) ]] || revision+=-dirty
    epoch=${epoch:-$(git log -1 --format=%ct)}
  fi
  epoch=${epoch:-0}
  [[ $epoch =~ ^[0-9]+$ ]] || fail "SOURCE_DATE_EPOCH='$epoch' is no number of seconds"
}

make_image() { # NAME
  local name=$1 user description
  local root=$work/$name
  mkdir -p "$root"
  oci_begin "$work/$name.oci"
  fill_base "$name" "$root/base"
  fill_binaries "$name" "$root/binaries" "$root/base/var/lib/dpkg/status.d"
  case $name in
    netting)
      user=4150:4150
      description='A service mesh for Kubernetes: sidecar, init container, catalog, webhook and command'
      oci_layer "$root/base" 'iptables and users'
      oci_layer "$root/binaries" 'binaries of Netting'
      ;;
    netting-test-app)
      # Not the sidecar's user, whose traffic is never redirected.
      user=65534:65534
      description='The application that the end-to-end tests of Netting deploy'
      oci_layer "$root/base" 'users'
      oci_layer "$root/binaries" 'the test application'
      ;;
  esac
  # What scanners find within, for those who look before they have the image.
  cp "$root/binaries/usr/share/doc/netting/$name.cdx.json" "$out/"
  oci_finish "$name" "$user" "$description" "$out/$name.tar"
  report "$name" "$root"
}

report() { # NAME ROOT
  local unpacked packed
  unpacked=$(du -sb --apparent-size "$2" | cut -f1)
  packed=$(stat -c %s "$out/$1.tar")
  cat <<REPORT

$registry/$1:$tag ($architecture, $profile)
  archive   $out/$1.tar, $((packed / 1024)) KiB; $((unpacked / 1024)) KiB unpacked
  manifest  sha256:$oci_manifest_digest
  load it   kind load image-archive $out/$1.tar
            k3s ctr images import $out/$1.tar
            ctr --namespace k8s.io images import $out/$1.tar
REPORT
}

describe_source
for image in "${images[@]}"; do
  build_binaries "$image" "$profile"
done
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Modes of what is written here must not depend on who writes it.
umask 022
for image in "${images[@]}"; do
  make_image "$image"
done
