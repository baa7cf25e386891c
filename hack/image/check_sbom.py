"""Holds an image's bill of materials to what is in the image.

usage: check_sbom.py SBOM [ROOT PACKAGE...]

ROOT is the image unpacked, PACKAGE each of ours whose binary it has. Without an image, the bill is
held to its schema and to Cargo.lock alone. Prints what is wrong, a line each; nothing if all is right.
"""

import json
import pathlib
import re
import sys
import tomllib

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

# Of a crate's panic messages, its path in the registry: what was certainly linked.
CRATE = re.compile(rb"/cargo/registry/src/[^/]+/([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[A-Za-z0-9.+-]*)/")
# Only the tests, the build or the command use these.
NEVER = {"protox", "tempfile", "netting-sandbox", "netting-test-app", "tonic-prost-build", "clap_derive", "serde_derive"}
# The fewest crates that must be seen in a binary, lest the paths have changed and nothing is compared.
SEEN_MIN = 3


def of_schema(text):
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
    if error:
        yield f"it is no CycloneDX 1.5: {error}"


def of_references(bom, components):
    if len(components) != len(bom["components"]):
        yield "a bom-ref is there twice"
    for one in bom["dependencies"]:
        for ref in {one["ref"], *one["dependsOn"]} - components.keys() - {"image"}:
            yield f"{ref} is depended on, and is no component"
    used = {ref for one in bom["dependencies"] for ref in one["dependsOn"]}
    for ref in components.keys() - used:
        yield f"{ref} is a component that nothing depends on"


def of_binary(package, root, depends):
    path = root / "netting" / package
    found = {f"cargo:{name.decode()}@{version.decode()}" for name, version in CRATE.findall(path.read_bytes())}
    if len(found) < SEEN_MIN:
        yield f"{package}: only {len(found)} crates can be seen in the binary"
    for ref in sorted(found - depends):
        yield f"{package}: {ref} is in the binary, and not in the bill"
    for ref in depends:
        if ref.removeprefix("cargo:").split("@")[0] in NEVER - {package}:
            yield f"{package}: {ref} is in the bill, and in no binary"
    for library in "rust-std", "glibc":
        if library not in depends:
            yield f"{package}: {library} is linked, and not in the bill"


def of_packages(root, components):
    there = {}
    for file in (root / "var/lib/dpkg/status.d").glob("*"):
        fields = dict(line.split(": ", 1) for line in file.read_text().splitlines() if re.match(r"\S+: ", line))
        there[f"deb:{fields['Package']}"] = fields["Version"]
    billed = {ref: one["version"] for ref, one in components.items() if ref.startswith("deb:")}
    if there != billed:
        yield f"packages in the image are {there}, and in the bill {billed}"


def of_lock(components):
    lock = tomllib.loads(pathlib.Path("Cargo.lock").read_text())["package"]
    sums = {f"cargo:{one['name']}@{one['version']}": one.get("checksum") for one in lock}
    for ref, one in components.items():
        if ref.startswith("cargo:"):
            hashes = [entry["content"] for entry in one.get("hashes", [])]
            if ref not in sums or hashes != [sum for sum in [sums[ref]] if sum]:
                yield f"{ref} is not what Cargo.lock says"


def faults(file, root, packages):
    text = pathlib.Path(file).read_text()
    yield from of_schema(text)
    bom = json.loads(text)
    components = {one["bom-ref"]: one for one in bom["components"]}
    yield from of_references(bom, components)
    yield from of_lock(components)
    if root is None:
        return
    binaries = {ref for ref in components if ref.startswith("bin:")}
    if binaries != {f"bin:{package}" for package in packages}:
        yield f"the binaries are {packages}, and in the bill {binaries}"
    depends = {one["ref"]: set(one["dependsOn"]) for one in bom["dependencies"]}
    for package in packages:
        yield from of_binary(package, root, depends.get(f"bin:{package}", set()))
    yield from of_packages(root, components)


if __name__ == "__main__":
    if len(sys.argv) not in (2, *range(4, 9)):
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    found = list(faults(sys.argv[1], root, sys.argv[3:]))
    print("\n".join(found))
    sys.exit(1 if found else 0)
