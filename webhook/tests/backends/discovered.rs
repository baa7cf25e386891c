//! Pods as Prometheus' discovery tells of them.

use std::{fs, path::Path};

use clap::Parser as _;
use json_patch::Patch;
use netting_webhook::{Args, Decision, Namespace, decide, names};
use serde_json::{Map, Value, json};

/// A pod that runs, with its address.
pub(crate) struct Running {
    pub(crate) pod: Value,
    pub(crate) ip: String,
}

/// The pods of the Deployments in `k8s/base`.
pub(crate) fn control_plane() -> Vec<Value> {
    let pods = ["catalog", "webhook"].map(|part| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../k8s/base/{part}.yaml"));
        let text = fs::read_to_string(path).expect("the manifests are there");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("they are YAML");
        let deployment = documents
            .into_iter()
            .find(|object| object["kind"] == "Deployment");
        let mut deployment = deployment.expect("each part is a Deployment");
        let mut pod = deployment["spec"]["template"].take();
        pod["metadata"]["name"] = json!(format!("netting-{part}-1"));
        pod["metadata"]["namespace"] = json!("netting");
        pod
    });
    pods.into()
}

/// An application's pod, which declares port 9080.
pub(crate) fn application(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": {"app": name},
            "annotations": annotations,
        },
        "spec": {"containers": [{"name": "app", "ports": [{"containerPort": 9080}]}]},
    })
}

/// The same with a sidecar.
pub(crate) fn injected(name: &str, annotations: &Value) -> Value {
    let mut pod = application(name, annotations);
    pod["metadata"]["labels"][names::INJECT] = json!("enabled");
    let args = Args::parse_from(["netting-webhook", "--sidecar-mode=native"]);
    let options = args.options().expect("the defaults agree with each other");
    let verdict = decide(&pod, &Namespace::named("shop"), &options);
    let Decision::Inject(patch) = verdict.decision else {
        panic!("{name}: {:?}", verdict.decision);
    };
    let patch: Patch = patch;
    json_patch::patch(&mut pod, &patch).expect("the patch applies");
    pod
}

impl Running {
    fn text(&self, pointer: &str) -> &str {
        self.pod
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Containers, then init containers, with each of their ports. One without ports is
    /// there once.
    pub(crate) fn ports(&self) -> Vec<(Value, Option<Value>)> {
        let lists = ["containers", "initContainers"].map(|list| self.pod["spec"][list].as_array());
        let containers = lists.into_iter().flatten().flatten();
        let of_container = |container: &Value| -> Vec<(Value, Option<Value>)> {
            let ports = container["ports"].as_array().cloned().unwrap_or_default();
            match ports.is_empty() {
                true => vec![(container.clone(), None)],
                false => ports
                    .into_iter()
                    .map(|port| (container.clone(), Some(port)))
                    .collect(),
            }
        };
        containers.flat_map(of_container).collect()
    }

    /// What `kubernetes_sd_configs` with the role `pod` says of it: one target for each port,
    /// as `discovery/kubernetes/pod.go` of Prometheus has it.
    pub(crate) fn targets(&self) -> Vec<Value> {
        let mut of_pod = json!({
            "__meta_kubernetes_namespace": self.text("/metadata/namespace"),
            "__meta_kubernetes_pod_name": self.name(),
            "__meta_kubernetes_pod_ip": self.ip,
            "__meta_kubernetes_pod_phase": "Running",
            "__meta_kubernetes_pod_ready": "true",
        });
        for kind in ["label", "annotation"] {
            let pairs = self.pod["metadata"][format!("{kind}s")].as_object();
            for (key, value) in pairs.into_iter().flatten() {
                let key = key.replace(|char: char| !char.is_ascii_alphanumeric(), "_");
                of_pod[format!("__meta_kubernetes_pod_{kind}_{key}")] = value.clone();
                of_pod[format!("__meta_kubernetes_pod_{kind}present_{key}")] = json!("true");
            }
        }
        let target = |(container, port): (Value, Option<Value>)| {
            let mut labels = of_pod.clone();
            labels["__meta_kubernetes_pod_container_name"] = container["name"].clone();
            let Some(port) = port else {
                return json!({"targets": [self.ip], "labels": labels});
            };
            let number = &port["containerPort"];
            labels["__meta_kubernetes_pod_container_port_name"] =
                json!(port["name"].as_str().unwrap_or_default());
            labels["__meta_kubernetes_pod_container_port_number"] = json!(number.to_string());
            json!({"targets": [format!("{}:{number}", self.ip)], "labels": labels})
        };
        self.ports().into_iter().map(target).collect()
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> &Map<String, Value> {
        self.pod["metadata"]["labels"]
            .as_object()
            .expect("all of them have some")
    }
}
