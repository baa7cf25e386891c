#!/usr/bin/env bash
# Prints the bill of materials (CycloneDX, JSON) of a program that is in no image, such as `netting`.
# Images have theirs within, and beside their archives (hack/build-image.sh).
#
# usage: [NETTING_TARGET=TRIPLE] hack/sbom.sh PACKAGE
set -euo pipefail
cd "$(dirname "$0")/.."
package=${1:?usage: hack/sbom.sh PACKAGE}
# shellcheck source=hack/image/binaries.sh
. hack/image/binaries.sh
# shellcheck source=hack/image/sbom.sh
. hack/image/sbom.sh

tag=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export tag epoch
write_sbom "$package" '' "$package"
