"""Holds every manifest to the schemas that Kubernetes publishes, version by version.

usage: schemas.py NETTING

What `netting render`, `netting inject` and the Helm chart give is validated strictly: an unknown
field is a fault. That the check finds one wherever it is, is tried as well.
"""

import copy
import sys

import helm_python as helm
import jsonschema
import referencing
from kubernetes_validate.utils import all_versions, schema_contents

import compare
from compare import check, documents, output

# What Netting promises to fit.
SUPPORTED = [f"1.{minor}" for minor in range(28, 37)]
# The oldest that there are schemas of, with the overlay and the sidecars for those before 1.28.
BEFORE = ["1.25", "1.26", "1.27"]
# The keys of these are anybody's.
FREE = {"labels", "annotations", "matchLabels", "nodeSelector", "requests", "limits", "hard"}


class Schemas:
    """The schemas of one version, in which no field may be that is not in them."""

    def __init__(self, minor):
        found = [version for version in all_versions() if version.startswith(f"{minor}.")]
        assert found, f"there are no schemas of Kubernetes {minor}"
        self.minor = minor
        self.directory = f"kubernetes-json-schema/v{found[-1]}-local-strict"
        self.definitions = self.read("_definitions")
        self.validators = {}

    def read(self, name):
        return schema_contents(f"{self.directory}/{name}.json", self.minor)

    def validator(self, document):
        group, _, version = document["apiVersion"].rpartition("/")
        group = group.split(".")[0]
        name = "-".join(filter(None, [document["kind"].lower(), group, version]))
        if name not in self.validators:
            schema = self.read(name)
            resources = map(referencing.Resource.from_contents, [self.definitions, schema])
            registry = list(resources) @ referencing.Registry()
            self.validators[name] = jsonschema.Draft202012Validator(schema, registry=registry)
        return self.validators[name]

    def fault(self, document):
        """What is wrong with it, in words; empty if nothing is."""
        error = jsonschema.exceptions.best_match(self.validator(document).iter_errors(document))
        if error is None:
            return ""
        name = f"{document['kind']} {document['metadata']['name']}"
        return f"{name} at {'.'.join(map(str, error.path))}: {error.message}"


def structures(value, kind, path=()):
    """Paths of all mappings in an object whose keys Kubernetes knows."""
    if isinstance(value, dict):
        yield path
        for key, field in value.items():
            if key not in FREE and not (key == "selector" and kind == "Service"):
                yield from structures(field, kind, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from structures(item, kind, (*path, index))


def planted(document):
    """The document with a field too much, once for each place that it could be in."""
    for path in structures(document, document["kind"]):
        wrong = copy.deepcopy(document)
        place = wrong
        for key in path:
            place = place[key]
        place["imagePulPolicy"] = "Always"
        yield path, wrong


def first_fault(schemas, all_documents):
    return next(filter(None, map(schemas.fault, all_documents)), "")


def every_manifest(netting):
    """By what it comes from: documents for supported versions, and for those before."""
    supported, before = {}, {}
    for flags, _, _ in compare.CASES:
        said = " ".join(["netting render", *flags])
        (before if "--kubernetes=1.27" in flags else supported)[said] = documents(
            output(netting, "render", *flags)
        )
    with helm.Chart.load(compare.CHART) as chart:
        for _, _, values in compare.CASES:
            if values is not None:
                rendered = compare.rendered_chart(chart, {**values, "createNamespace": True}, "netting")
                supported[f"the chart with {values}"] = rendered
        rendered = compare.rendered_chart(chart, compare.PLACED, "netting")
        supported[f"the chart with {compare.PLACED}"] = rendered
    demo = "hack/quickstart/demo.yaml"
    supported[f"netting inject {demo}"] = documents(output(netting, "inject", "-q", demo))
    classic = output(netting, "inject", "-q", "--sidecar-mode=classic", demo)
    before[f"netting inject --sidecar-mode=classic {demo}"] = documents(classic)
    return supported, before


def main(netting):
    supported, before = every_manifest(netting)
    for minors, manifests in (SUPPORTED, supported), (BEFORE, before):
        for minor in minors:
            schemas = Schemas(minor)
            for said, rendered in manifests.items():
                check(f"Kubernetes {minor} takes {said}", first_fault(schemas, rendered))
    for minor in SUPPORTED[0], SUPPORTED[-1]:
        schemas = Schemas(minor)
        for document in supported["netting render --ha"]:
            missed = [path for path, wrong in planted(document) if not schemas.fault(wrong)]
            name = f"{document['kind']} {document['metadata']['name']}"
            check(f"Kubernetes {minor} refuses a typo anywhere in {name}", missed and f"not at {missed}")
    return compare.failed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(1 if main(*sys.argv[1:]) else 0)
