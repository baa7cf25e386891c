//! What can be written on pods and namespaces, for those who look it up. What is not
//! here is not an option: the parser asks it.

/// An annotation, in words of the reference.
#[derive(Clone, Copy, Debug)]
pub struct Annotation {
    /// Its name behind `netting.dev/`.
    pub name: &'static str,
    /// What it says, and an example. Markdown.
    pub value: &'static str,
    /// What holds without it. Markdown.
    pub default: &'static str,
}

const fn annotation(name: &'static str, value: &'static str, default: &'static str) -> Annotation {
    Annotation {
        name,
        value,
        default,
    }
}

const CPU: &str = "`10m`; more in a Guaranteed pod";
const MEMORY: &str = "`16Mi`; more in a Guaranteed pod";
const LIMIT: &str = "none; but where each container of the pod has one";

/// Those of pods, in the order of the page. All of them but `inject` may be on a
/// namespace too, for its pods.
pub const PODS: [Annotation; 19] = [
    annotation(
        "inject",
        "`disabled` leaves the pod out. (A label of this name asks for a sidecar.)",
        "the labels decide",
    ),
    annotation(
        "skip-inbound-ports",
        "ports, ranges and names of container ports of the pod that are not proxied: `22,8000-8010,metrics`",
        "none",
    ),
    annotation(
        "skip-outbound-ports",
        "ports elsewhere that are not proxied: `3306`",
        "none",
    ),
    annotation(
        "skip-inbound-cidrs",
        "sources that are not proxied: `10.0.0.0/8,fd00::/8`",
        "none",
    ),
    annotation(
        "skip-outbound-cidrs",
        "destinations that are not proxied",
        "none",
    ),
    annotation(
        "opaque-ports",
        "ports, here and elsewhere, that are proxied without a look at what they carry",
        "none",
    ),
    annotation(
        "proxy-cpu-request",
        "CPU of the sidecar and of netting-init: `20m`",
        CPU,
    ),
    annotation("proxy-cpu-limit", "the most CPU of each: `500m`", LIMIT),
    annotation(
        "proxy-memory-request",
        "memory of the sidecar and of netting-init, in whole bytes: `32Mi`",
        MEMORY,
    ),
    annotation(
        "proxy-memory-limit",
        "the most memory of each, `8Mi` or more: `128Mi`",
        LIMIT,
    ),
    annotation(
        "log-level",
        "`off`, `error` to `trace`, or `module=level`",
        "`info`",
    ),
    annotation(
        "access-log",
        "`off`, `errors` or `all`, and how: `errors;slow=500ms;format=json`; all of it is in [Telemetry](../telemetry.md)",
        "`off`",
    ),
    annotation(
        "telemetry",
        "where measurements and spans go, separated by commas: `prometheus`, `otlp=http://collector:4317`; all of them are in [Telemetry](../telemetry.md)",
        "`prometheus`",
    ),
    annotation(
        "sidecar-mode",
        "`native` or `classic`",
        "`native` where the cluster has native sidecars",
    ),
    annotation(
        "drain-timeout",
        "how long open connections may take to finish, within the pod's grace period: `20s`",
        "the grace period less 2 s",
    ),
    annotation(
        "rewrite-http-probes",
        "`true`: the sidecar asks `httpGet` probes and hooks too, but for hooks that may carry a credential: a query, or any header but common ones such as `Host`",
        "`false`",
    ),
    annotation(
        "scrape-annotations",
        "`true`: a pod without `prometheus.io/scrape` is annotated with it, for the sidecar's metrics",
        "`false`",
    ),
    annotation(
        "merge-metrics",
        "`false`: `prometheus.io/port` and `/path` stay as they are, and the sidecar's metrics are at its own port alone",
        "`true`: they lead to the sidecar, which serves the application's metrics with its own",
    ),
    annotation(
        "status",
        "written by Netting: what was added",
        "there is none on a pod without a sidecar",
    ),
];

/// Whether there is such an annotation.
pub(super) fn knows(name: &str) -> bool {
    PODS.iter().any(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Namespace;

    const PAGE_BEGINS: &str = "\
# Annotations and labels of pods and namespaces

| label | on | meaning |
|---|---|---|
| `netting.dev/inject: enabled` | a namespace, or a pod in any but `kube-system` and Netting's own | its pods, or it, are given a sidecar |
| `netting.dev/inject: disabled` | a pod | it is left out |
| `netting.dev/injected: \"true\"` | a pod; written by Netting | it has a sidecar |

`true` and `false` are taken for `enabled` and `disabled`.

These annotations of a pod say how; on a namespace they are the defaults of its pods, and the flags of [netting-webhook](programs.md#netting-webhook) those of all. A value that can't be meant is ignored with a warning, which `kubectl` shows, or an Event of the pod's controller. (A pod without one is admitted before it has a uid: `kubectl get events` has the Event about it, `kubectl describe pod` has not.) Those of Services are on [a page of their own](service-annotations.md).

| annotation | value | default |
|---|---|---|
";

    #[test]
    fn the_page_is_of_this_list() {
        let rows = PODS.iter().map(|it| (it.name, it.value, it.default));
        netting_golden::assert_golden(
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../docs/reference/annotations.md"
            ),
            &netting_golden::annotations_page(PAGE_BEGINS, rows),
        );
    }

    #[test]
    fn each_is_understood() {
        let options = crate::test_options();
        for Annotation { name, .. } in PODS {
            let key = format!("netting.dev/{name}");
            let pod = json!({"metadata": {"annotations": {key: "?"}},
                "spec": {"containers": [{"name": "app"}]}});
            let verdict = crate::decide(&pod, &Namespace::named("shop"), &options);
            for warning in verdict.warnings {
                assert!(!warning.contains("is not an option"), "{warning}");
            }
        }
    }
}
