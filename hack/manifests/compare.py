"""Compares what the same settings give in three ways: `netting render`, kustomize, and Helm.

usage: compare.py NETTING [KUBECTL]

Renders the Helm chart with Helm's own engine, and the overlays with kubectl's kustomize; without
KUBECTL they are left out. Values that the chart's schema must refuse are tried as well.
"""

import os
import subprocess
import sys

import helm_python as helm
import yaml

CHART = "k8s/chart/netting"

# Lists that refer to what the pod knows, and to Secrets.
TELEMETRY = {
    "webhook": "prometheus,otlp=http://$(HOST_IP):4317;header.x-node=$(NODE_NAME)",
    "catalog": "otlp=https://otlp.example;token=$(secret:otel-creds/api.key);ca=$(secret:otel-creds/ca.crt),"
    "influxdb=http://influxdb:8086/write?db=mesh;user=mesh;password=$(secret:otel-creds/api.key)",
}

# For each: the flags of `netting render`, the overlay, and the chart's values; None where there
# is no such thing.
CASES = [
    ([], "default", {}),
    (["--ha"], "ha", {"ha": True}),
    (["--kubernetes=1.27"], "before-1.28", None),
    (["--image-pull-policy=Never"], "kind", {"image": {"pullPolicy": "Never"}}),
    (
        [
            "--system-namespace=mesh",
            "--image=registry.example.com/mesh:7",
            "--failure-policy=Fail",
            "--log=info,netting_webhook=debug",
            "--log-format=json",
            "--webhook-set=proxy-cpu-request=0.5",
            "--webhook-set=proxy-log=warn",
            "--webhook-set=rewrite-http-probes",
            "--webhook-set=trace-ratio=0.1",
            "--catalog-set=streams-max=20000",
        ],
        None,
        {
            "image": {"repository": "registry.example.com/mesh", "tag": "7"},
            "failurePolicy": "Fail",
            "log": "info,netting_webhook=debug",
            "logFormat": "json",
            "webhook": {
                "flags": {
                    "proxy-log": "warn",
                    "rewrite-http-probes": True,
                    "trace-ratio": 0.1,
                    "proxy-cpu-request": 0.5,
                }
            },
            "catalog": {"flags": {"streams-max": 20000}},
        },
    ),
    (
        [f"--{part}-set=telemetry={telemetry}" for part, telemetry in TELEMETRY.items()],
        None,
        {part: {"flags": {"telemetry": telemetry}} for part, telemetry in TELEMETRY.items()},
    ),
    (
        ["--image=registry.example.com/mesh@sha256:" + "0" * 64],
        None,
        {"image": {"repository": "registry.example.com/mesh", "digest": "sha256:" + "0" * 64}},
    ),
]

# What the chart alone has: where pods run, and how they are placed.
PLACED = {
    "priorityClassName": "",
    "nodeSelector": {"pool": "infra"},
    "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {}},
    "webhook": {"hostNetwork": True},
    "createNamespace": True,
}

REFUSED = [
    {"imgae": {"tag": "1"}},
    {"image": {"tags": "1"}},
    {"image": {"tag": "a b"}},
    {"image": {"pullPolicy": "always"}},
    {"ha": "yes"},
    {"failurePolicy": "ignore"},
    {"logFormat": "xml"},
    {"webhook": {"flags": {"Proxy_Log": "warn"}}},
    {"webhook": {"flags": {"proxy-lgo": "warn"}}},
    {"webhook": {"flags": {"streams-max": 1}}},
    {"webhook": {"flags": {"tls-secret": "mine"}}},
    {"catalog": {"flags": {"stream-max": 1}}},
    {"catalog": {"flags": {"grpc-port": 16000}}},
    {"catalog": {"flag": {"streams-max": 1}}},
    {"webhook": {"resources": {"request": {"cpu": "1"}}}},
    {"webhook": {"hostNetwork": "yes"}},
    {"catalog": {"hostNetwork": True}},
    {"priorityClassName": "High"},
    {"tolerations": [{"operator": "In"}]},
    {"nodeSelector": {"pool": 1}},
    {"affinity": {"nodeAffinities": {}}},
]

failed = 0


def check(sentence, fault):
    """Counts a test that has failed if there is a fault, and says it."""
    global failed
    failed += bool(fault)
    print(("FAIL  " if fault else "ok    ") + sentence + (f": {fault}" if fault else ""))


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def by_name(objects):
    named = {}
    for one in objects:
        key = (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"])
        assert key not in named, f"{key} is there twice"
        named[key] = one
    return named


def difference(ours, theirs):
    """What is other, in words; empty if nothing is."""
    ours, theirs = by_name(ours), by_name(theirs)
    for key in sorted(ours.keys() ^ theirs.keys()):
        return f"{key} is only in {'netting render' if key in ours else 'the other'}"
    return next((f"{key} differs" for key in ours if ours[key] != theirs[key]), "")


def misplaced(objects):
    """What of PLACED is not as it says, in words; empty if all is."""
    named = by_name(objects)
    if ("ResourceQuota", "netting", "netting-critical-pods") in named:
        return "there is a quota of no priority class"
    labels = named["Namespace", "", "netting"]["metadata"]["labels"]
    if labels["pod-security.kubernetes.io/enforce"] != "privileged":
        return "the namespace refuses pods on the node's network"
    for part in "catalog", "webhook":
        deployment = named["Deployment", "netting", f"netting-{part}"]["spec"]
        # Where a replica has ports of its node, the next may find no other node that is free.
        rolling = {"maxSurge": 1, "maxUnavailable": 0}
        if part == "webhook":
            rolling = {"maxSurge": 0, "maxUnavailable": 1}
        if deployment["strategy"]["rollingUpdate"] != rolling:
            return f"{part}: the rollout is {deployment['strategy']['rollingUpdate']}"
        pod = deployment["template"]["spec"]
        wanted = {key: PLACED[key] for key in ("tolerations", "affinity")}
        wanted["nodeSelector"] = {"kubernetes.io/os": "linux", **PLACED["nodeSelector"]}
        wanted["priorityClassName"] = None
        wanted["hostNetwork"] = True if part == "webhook" else None
        wanted["dnsPolicy"] = "ClusterFirstWithHostNet" if part == "webhook" else None
        for key, value in wanted.items():
            if pod.get(key) != value:
                return f"{part}: {key} is {pod.get(key)}"
    return ""


def output(*command):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NETTING_")}
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout


def rendered_chart(chart, values, namespace):
    files = chart.render(values, name="netting", namespace=namespace)
    return [
        document
        for path, text in files.items()
        if path.endswith(".yaml")
        for document in documents(text)
    ]


def main(netting, kubectl=None):
    with helm.Chart.load(CHART) as chart:
        for flags, overlay, values in CASES:
            ours = documents(output(netting, "render", *flags))
            said = " ".join(flags) or "without flags"
            if overlay and kubectl:
                theirs = documents(output(kubectl, "kustomize", f"k8s/overlays/{overlay}"))
                check(f"netting render {said} is overlay {overlay}", difference(ours, theirs))
            if values is not None:
                namespace = "mesh" if "--system-namespace=mesh" in flags else "netting"
                theirs = rendered_chart(chart, {**values, "createNamespace": True}, namespace)
                check(f"netting render {said} is the chart with {values}", difference(ours, theirs))
                theirs = rendered_chart(chart, values, namespace)
                ours = [one for one in ours if one["kind"] != "Namespace"]
                check("and without a namespace if it is not asked for", difference(ours, theirs))
        chart.validate_schema(PLACED)
        check(f"the chart heeds {PLACED}", misplaced(rendered_chart(chart, PLACED, "netting")))
        for values in REFUSED:
            try:
                chart.validate_schema(values)
                fault = "they are accepted"
            except helm.HelmError:
                fault = ""
            check(f"the chart refuses {values}", fault)
        chart.validate_schema({})
        try:
            rendered_chart(chart, {}, "default")
            fault = "it is accepted"
        except helm.HelmError as error:
            fault = "" if "give another by --namespace" in str(error) else str(error)
        check("the chart refuses the namespace default", fault)
    # 1 is for hints, such as that an icon would be nice.
    findings = [one["error"] for one in helm.lint(CHART)["messages"] if one["severity"] > 1]
    check("helm lint finds nothing wrong", "; ".join(findings))
    return failed


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(1 if main(*sys.argv[1:]) else 0)
