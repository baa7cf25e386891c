//! Collects it. What can't be had is said in the bundle itself.

use std::fmt::Debug;

use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::Deployment,
    core::v1::{Namespace, Node, Pod, Service},
    events::v1::Event,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams},
};
use netting_webhook::{
    documents,
    names::{INIT_CONTAINER, SIDECAR_CONTAINER},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{archive::Bundle, redact};
use crate::{check::Report, cluster::Cluster, commands::check::ask, forward::NoAnswer, mesh};

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) pods: usize,
    pub(super) log_lines: i64,
}

const README: &str = "\
What `netting support-bundle` collected:

check.json        what `netting check` found
versions.txt      of Netting's command and of Kubernetes
objects/          Netting's own objects, and what they work with
control-plane/    metrics and logs of Netting's own pods
pods/             pods with a sidecar: the pod, its sidecar's configuration, metrics and logs
missing.txt       what could not be had, and why

Secrets were not collected. Variables, commands, arguments, annotations and messages of
applications are replaced by <redacted>, and so are credentials and private keys in logs. Look
through it before you hand it on: names of namespaces, pods, services and nodes, and addresses,
are in it.
";

/// A bundle in the making.
struct Collector<'a> {
    cluster: &'a Cluster,
    limits: Limits,
    bundle: Bundle,
    missing: Vec<String>,
}

/// All that can be had, and how much could not.
pub(super) async fn bundle(cluster: &Cluster, limits: Limits) -> (Bundle, usize) {
    let mut collector = Collector {
        cluster,
        limits,
        bundle: Bundle::new(),
        missing: Vec::new(),
    };
    collector.put("README.txt", README.to_owned());
    let versions = format!(
        "netting {}\nkubernetes {}\n",
        env!("CARGO_PKG_VERSION"),
        cluster.version
    );
    collector.put("versions.txt", versions);
    let report = Report::of(&ask::facts(cluster, false, None).await);
    let report = serde_json::to_value(&report).expect("findings are JSON");
    // It repeats what people wrote into annotations.
    collector.put("check.json", redact::text(&format!("{report:#}\n")));
    collector.objects().await;
    collector.control_plane().await;
    collector.pods().await;
    let missed = collector.missing.len();
    let missing = match collector.missing.as_slice() {
        [] => "nothing\n".to_owned(),
        lines => lines.join("\n") + "\n",
    };
    collector.put("missing.txt", missing);
    (collector.bundle, missed)
}

impl Collector<'_> {
    fn put(&mut self, path: impl Into<String>, content: String) {
        self.bundle.insert(path.into(), content);
    }

    fn miss(&mut self, what: &str, why: impl std::fmt::Display) {
        self.missing.push(format!("{what}: {why}"));
    }

    async fn objects(&mut self) {
        let client = self.cluster.client();
        let namespace = self.cluster.system_namespace.clone();
        self.list("nodes", Api::<Node>::all(client.clone())).await;
        self.list("namespaces", Api::<Namespace>::all(client.clone()))
            .await;
        let configurations = Api::<MutatingWebhookConfiguration>::all(client.clone());
        self.list("mutatingwebhookconfigurations", configurations)
            .await;
        self.list(
            "deployments",
            Api::<Deployment>::namespaced(client.clone(), &namespace),
        )
        .await;
        self.list(
            "services",
            Api::<Service>::namespaced(client.clone(), &namespace),
        )
        .await;
        self.list("events", Api::<Event>::namespaced(client, &namespace))
            .await;
    }

    async fn list<K>(&mut self, name: &str, api: Api<K>)
    where
        K: Clone + DeserializeOwned + Serialize + Debug,
    {
        match api.list(&ListParams::default()).await {
            Ok(listed) => {
                let yaml = yaml(&listed.items);
                self.put(format!("objects/{name}.yaml"), yaml);
            }
            Err(error) => self.miss(&format!("list {name}"), error),
        }
    }

    async fn control_plane(&mut self) {
        let namespace = self.cluster.system_namespace.clone();
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), &namespace);
        let pods = match api.list(&ListParams::default()).await {
            Ok(pods) => pods.items,
            Err(error) => return self.miss("list Netting's pods", error),
        };
        for pod in &pods {
            let path = format!("control-plane/{}", pod.name_any());
            self.put(format!("{path}.yaml"), yaml(pod));
            self.admin(pod, "/config", format!("{path}.config.json"))
                .await;
            let metrics = format!("{path}.metrics.txt");
            self.admin(pod, mesh::INSTRUMENTS, metrics).await;
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            for container in containers {
                self.logs(pod, &container.name, &path).await;
            }
        }
    }

    async fn pods(&mut self) {
        let pods = match mesh::pods(self.cluster, None).await {
            Ok(pods) => pods,
            Err(error) => return self.miss("list pods with a sidecar", error),
        };
        if pods.len() > self.limits.pods {
            let why = format!("{} of {}; see --pods-max", self.limits.pods, pods.len());
            self.miss("pods beyond the limit", why);
        }
        for pod in pods.iter().take(self.limits.pods) {
            let path = format!(
                "pods/{}/{}",
                pod.namespace().unwrap_or_default(),
                pod.name_any()
            );
            self.put(format!("{path}.yaml"), yaml(pod));
            self.admin(pod, "/config", format!("{path}.config.json"))
                .await;
            let metrics = format!("{path}.metrics.txt");
            self.admin(pod, mesh::INSTRUMENTS, metrics).await;
            for container in [INIT_CONTAINER, SIDECAR_CONTAINER] {
                self.logs(pod, container, &path).await;
            }
        }
    }

    async fn admin(&mut self, pod: &Pod, from: &str, path: String) {
        match mesh::ask(&self.cluster.client(), pod, from).await {
            Ok(text) => self.put(path, redact::text(&text)),
            Err(NoAnswer::Gone(_)) => {}
            Err(error) => self.miss(&path, error.line()),
        }
    }

    async fn logs(&mut self, pod: &Pod, container: &str, path: &str) {
        let path = format!("{path}.{container}.log");
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), &namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(self.limits.log_lines),
            ..LogParams::default()
        };
        match api.logs(&pod.name_any(), &params).await {
            Ok(log) => self.put(path, redact::text(&log)),
            Err(error) => self.miss(&path, error),
        }
    }
}

fn yaml(value: &impl Serialize) -> String {
    let mut value = serde_json::to_value(value).expect("an object of the API server is JSON");
    redact::object(&mut value);
    documents::yaml(&value)
}
