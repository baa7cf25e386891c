# shellcheck shell=bash
# The bill of materials of an image (CycloneDX 1.5, JSON): the crates that are linked into its
# binaries, what is linked into them besides, and the Debian packages in it. Sourced in the
# repository's root; uses the variables tag and epoch. Scanners find it in the image by its name,
# which ends in .cdx.json. https://cyclonedx.org/docs/1.5/json/

# The crates that a binary links, a line each: name, version and licence. Procedural macros and
# build scripts run on the machine that builds, and are in no binary.
linked_crates() { # PACKAGE
  cargo tree --locked --package="$1" --edges normal,no-proc-macro \
    --target "$(static_target)" --prefix none --format $'{p}\t{l}' |
    sed -nE 's/ \(\*\)$//; s# */ *# OR #g; s/^([^ ]+) v([^ \t]+)[^\t]*\t(.*)$/\1\t\2\t\3/p' |
    sort -u
}

# name@version and SHA-256 of every crate from a registry.
checksums() {
  awk -F'"' '/^name = /{name=$2} /^version = /{version=$2} /^checksum = /{print name "@" version "\t" $2}' Cargo.lock
}

joined() { # the lines of stdin, by commas
  paste -s -d, -
}

refs() { # components on stdin, one a line
  sed 's/^{"bom-ref":\("[^"]*"\).*/\1/'
}

crate_components() { # lines of name, version and licence on stdin
  awk -F'\t' -v sums="$(checksums)" '
    BEGIN {
      count = split(sums, lines, "\n")
      for (i = 1; i <= count; i++) { split(lines[i], one, "\t"); sum[one[1]] = one[2] }
    }
    {
      id = $1 "@" $2
      printf "{\"bom-ref\":\"cargo:%s\",\"type\":\"library\",\"name\":\"%s\",\"version\":\"%s\"", id, $1, $2
      if ($3 != "") printf ",\"licenses\":[{\"expression\":\"%s\"}]", $3
      if (id in sum) {
        version = $2
        gsub(/\+/, "%2B", version)
        printf ",\"purl\":\"pkg:cargo/%s@%s\",\"hashes\":[{\"alg\":\"SHA-256\",\"content\":\"%s\"}]", $1, version, sum[id]
      }
      print "}"
    }'
}

library_component() { # NAME VERSION LICENCE
  printf '{"bom-ref":"%s","type":"library","name":"%s","version":"%s","purl":"pkg:generic/%s@%s","licenses":[{"expression":"%s"}]}\n' \
    "$1" "$1" "$2" "$1" "$2" "$3"
}

# What is in a static binary besides crates: Rust's library, and on Linux this machine's C library.
toolchain_components() {
  library_component rust-std "$(rustc -V | cut -d' ' -f2)" 'MIT OR Apache-2.0'
  [[ $(static_target) != *-linux-gnu ]] ||
    library_component glibc "$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)" LGPL-2.1-or-later
}

os_release() { # FIELD
  sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" /etc/os-release
}

package_components() { # STATUS_D
  local file distribution
  [[ -n $1 ]] || return 0
  distribution=$(os_release ID)-$(os_release VERSION_ID)
  for file in "$1"/*; do
    [[ -f $file ]] || continue
    awk -F': ' -v distribution="$distribution" '
      /^Package: /{name=$2} /^Version: /{version=$2} /^Architecture: /{architecture=$2}
      END {
        encoded = version
        gsub(/\+/, "%2B", encoded)
        split(distribution, id, "-")
        purl = "pkg:deb/" id[1] "/" name "@" encoded "?arch=" architecture "&distro=" distribution
        printf "{\"bom-ref\":\"deb:%s\",\"type\":\"library\",\"name\":\"%s\",\"version\":\"%s\",\"purl\":\"%s\"}\n", name, name, version, purl
      }' "$file"
  done
}

# Writes it to stdout. Of a program without an image, STATUS_D is empty.
write_sbom() { # NAME STATUS_D PACKAGE...
  local name=$1 status=$2 package refs work version libraries
  local LC_ALL=C
  export LC_ALL
  shift 2
  version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
  work=$(mktemp -d)
  for package; do
    linked_crates "$package"
  done | sort -u | crate_components >"$work/components"
  libraries=$(toolchain_components | tee -a "$work/components" | refs | joined)
  package_components "$status" >>"$work/components"
  for package; do
    printf '{"bom-ref":"bin:%s","type":"application","name":"%s","version":"%s"}\n' "$package" "$package" "$version"
  done >>"$work/components"
  for package; do
    refs=$(linked_crates "$package" | awk -F'\t' '{print "\"cargo:" $1 "@" $2 "\""}' | joined)
    printf '{"ref":"bin:%s","dependsOn":[%s,%s]}\n' "$package" "$refs" "$libraries"
  done >"$work/dependencies"
  refs=$(refs <"$work/components" | grep -E '^"(bin|deb):' | joined)
  printf '{"ref":"image","dependsOn":[%s]}\n' "$refs" >>"$work/dependencies"
  cat <<SBOM
{"\$schema":"http://cyclonedx.org/schema/bom-1.5.schema.json","bomFormat":"CycloneDX","specVersion":"1.5","version":1,
"metadata":{"timestamp":"$(date --utc --date="@$epoch" +%Y-%m-%dT%H:%M:%SZ)","component":{"bom-ref":"image","type":"$([[ -n $status ]] && echo container || echo application)","name":"$name","version":"$tag","licenses":[{"expression":"Apache-2.0"}]}},
"components":[
$(sed '$!s/$/,/' "$work/components")
],
"dependencies":[
$(sed '$!s/$/,/' "$work/dependencies")
]}
SBOM
  rm -r "$work"
}
