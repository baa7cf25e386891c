#!/usr/bin/env bash
# Installs those of the named Debian packages that are missing, as root or by sudo. Their services
# are not started: whoever wants a server starts one of its own.
#
# usage: hack/install-packages.sh PACKAGE...
set -euo pipefail

missing=()
for package; do
  # A package that was removed but not purged is still known, as config-files.
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ! command -v apt-get >/dev/null; then
  echo "missing: ${missing[*]}; there is no apt-get, so install them by your own package manager" >&2
  exit 1
fi
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "missing: ${missing[*]}; neither root nor sudo: run apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update --quiet --quiet
# Maintainer scripts ask this program whether to start a service; 101 means no.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install --mode=755 /dev/stdin "$policy"
  trap '"${as_root[@]}" rm --force "$policy"' EXIT
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}"
