# shellcheck shell=bash
# An OCI image layout, packed as a tar archive. Sourced by hack/build-image.sh, whose variables
# registry, tag, architecture, profile, revision and epoch it uses.
# https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md

# Every archive is the same for the same content: sorted, owned by root, of one date.
sorted_tar() { # DIRECTORY
  (cd "$1" && tar --create --format=ustar --sort=name --mtime="@$epoch" \
    --owner=0 --group=0 --numeric-owner -- *)
}

sha256_of() { # FILE
  sha256sum "$1" | cut -d' ' -f1
}

oci_begin() { # DIRECTORY
  oci=$1
  mkdir -p "$oci/blobs/sha256"
  oci_layers=()
  oci_diff_ids=()
  oci_history=()
}

# Moves a file among the blobs, and says `"digest":…,"size":…` of it.
oci_blob() { # FILE
  local digest size
  digest=$(sha256_of "$1")
  size=$(stat -c %s "$1")
  mv "$1" "$oci/blobs/sha256/$digest"
  printf '"digest":"sha256:%s","size":%s' "$digest" "$size"
}

oci_layer() { # ROOT COMMENT
  local tar=$oci/layer.tar
  sorted_tar "$1" >"$tar"
  # The digest of the uncompressed layer, which names it once it's unpacked.
  oci_diff_ids+=("\"sha256:$(sha256_of "$tar")\"")
  gzip -n -9 "$tar"
  oci_layers+=("{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",$(oci_blob "$tar.gz")}")
  oci_history+=("{\"created\":\"$(oci_date)\",\"created_by\":\"hack/build-image.sh\",\"comment\":\"$2\"}")
}

oci_date() {
  date --utc --date="@$epoch" +%Y-%m-%dT%H:%M:%SZ
}

joined_by_commas() {
  local IFS=,
  printf '%s' "$*"
}

oci_labels() { # NAME DESCRIPTION
  local label=org.opencontainers.image
  joined_by_commas \
    "\"$label.title\":\"$1\"" \
    "\"$label.description\":\"$2\"" \
    "\"$label.version\":\"$tag\"" \
    "\"$label.revision\":\"$revision\"" \
    "\"$label.created\":\"$(oci_date)\"" \
    "\"$label.source\":\"https://github.com/netting-dev/netting\"" \
    "\"$label.licenses\":\"Apache-2.0\"" \
    "\"dev.netting.profile\":\"$profile\""
}

# Writes configuration, manifest and index, and packs all of it. Sets oci_manifest_digest.
oci_finish() { # NAME USER DESCRIPTION ARCHIVE
  local name=$1 user=$2 labels config manifest
  local reference=$registry/$name:$tag
  labels=$(oci_labels "$name" "$3")

  cat >"$oci/config.json" <<CONFIG
{"created":"$(oci_date)","architecture":"$architecture","os":"linux","config":{"User":"$user","Env":["PATH=/netting:/usr/sbin:/usr/bin"],"WorkingDir":"/","Labels":{$labels}},"rootfs":{"type":"layers","diff_ids":[$(joined_by_commas "${oci_diff_ids[@]}")]},"history":[$(joined_by_commas "${oci_history[@]}")]}
CONFIG
  config=$(oci_blob "$oci/config.json")

  cat >"$oci/manifest.json" <<MANIFEST
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",$config},"layers":[$(joined_by_commas "${oci_layers[@]}")],"annotations":{$labels}}
MANIFEST
  oci_manifest_digest=$(sha256_of "$oci/manifest.json")
  manifest=$(oci_blob "$oci/manifest.json")

  # containerd (so kind and k3s) names the image by io.containerd.image.name, others by ref.name.
  cat >"$oci/index.json" <<INDEX
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",$manifest,"platform":{"architecture":"$architecture","os":"linux"},"annotations":{"io.containerd.image.name":"$reference","org.opencontainers.image.ref.name":"$tag"}}]}
INDEX
  printf '{"imageLayoutVersion":"1.0.0"}\n' >"$oci/oci-layout"
  sorted_tar "$oci" >"$4"
}
