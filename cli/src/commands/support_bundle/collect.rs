//! Collects it. What can't be had is said in the bundle itself.

use std::{fmt::Debug, time::Duration};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::Deployment,
    core::v1::{Namespace, Node, Pod, Service},
    events::v1::Event,
};
use kube::{Api, ResourceExt as _, api::ListParams};
use netting_webhook::{
    documents,
    names::{INIT_CONTAINER, SIDECAR_CONTAINER},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{
    archive::Bundle,
    asked::{self, ANSWER_TIMEOUT, Asked, in_time},
    redact,
};
use crate::{
    check::{Report, finding::counted},
    cluster::Cluster,
    commands::check::ask,
    installation::{progress::Progress, selector},
    mesh,
};

/// So many answers are waited for at the same time.
const ASKED_AT_ONCE: usize = 16;
/// After so many answers it is said how far it is.
const TOLD_EVERY: usize = 50;
/// How long `netting check` may take, which may ask a hundred pods.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3 * 60);

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
    progress: Progress,
    bundle: Bundle,
    missing: Vec<String>,
}

/// All that can be had, and how much could not.
pub(super) async fn bundle(cluster: &Cluster, limits: Limits) -> (Bundle, usize) {
    let mut collector = Collector {
        cluster,
        limits,
        progress: Progress::new(),
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
    collector.check().await;
    collector.objects().await;
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

    async fn check(&mut self) {
        self.progress.title("looking, as netting check does");
        let facts = timeout(CHECK_TIMEOUT, ask::facts(self.cluster, false, None)).await;
        let Ok(facts) = facts else {
            return self.miss("check.json", format!("not done within {CHECK_TIMEOUT:?}"));
        };
        let report = serde_json::to_value(Report::of(&facts)).expect("findings are JSON");
        // It repeats what people wrote into annotations.
        self.put("check.json", redact::text(&format!("{report:#}\n")));
    }

    async fn objects(&mut self) {
        self.progress.title("listing objects");
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
        match in_time(ANSWER_TIMEOUT, api.list(&ListParams::default())).await {
            Ok(listed) => {
                let yaml = yaml(&listed.items);
                self.put(format!("objects/{name}.yaml"), yaml);
            }
            Err(error) => self.miss(&format!("list {name}"), error),
        }
    }

    /// Netting's own, and those with a sidecar.
    async fn pods(&mut self) {
        let (own, meshed) = (self.own().await, self.meshed().await);
        let mut asked = Vec::new();
        for pod in &own {
            let path = format!("control-plane/{}", pod.name_any());
            self.put(format!("{path}.yaml"), yaml(pod));
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let names = containers.map(|container| container.name.as_str());
            asked.extend(asked::of(pod, &path, names));
        }
        for pod in &meshed {
            let path = format!("pods/{}", mesh::name_of(pod));
            self.put(format!("{path}.yaml"), yaml(pod));
            asked.extend(asked::of(pod, &path, [INIT_CONTAINER, SIDECAR_CONTAINER]));
        }
        let pods = counted(own.len() + meshed.len(), "pod");
        self.progress.title(&format!(
            "asking {pods} for configuration, metrics and logs"
        ));
        self.answers(&asked).await;
    }

    async fn own(&mut self) -> Vec<Pod> {
        let namespace = &self.cluster.system_namespace;
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), namespace);
        let ours = ListParams::default().labels(&selector());
        match in_time(ANSWER_TIMEOUT, api.list(&ours)).await {
            Ok(pods) => pods.items,
            Err(error) => {
                self.miss("list Netting's pods", error);
                Vec::new()
            }
        }
    }

    async fn meshed(&mut self) -> Vec<Pod> {
        let mut pods = match in_time(ANSWER_TIMEOUT, mesh::pods(self.cluster, None)).await {
            Ok(pods) => pods,
            Err(error) => {
                self.miss("list pods with a sidecar", error);
                return Vec::new();
            }
        };
        if pods.len() > self.limits.pods {
            let why = format!("{} of {}; see --pods-max", self.limits.pods, pods.len());
            self.miss("pods beyond the limit", why);
            pods.truncate(self.limits.pods);
        }
        pods
    }

    async fn answers(&mut self, asked: &[Asked<'_>]) {
        let (client, lines) = (self.cluster.client(), self.limits.log_lines);
        let answers = stream::iter(asked)
            .map(async |one| (&one.path, one.answer(&client, lines).await))
            .buffer_unordered(ASKED_AT_ONCE);
        let mut answers = std::pin::pin!(answers.enumerate());
        let mut missing = Vec::new();
        while let Some((before, (path, answer))) = answers.next().await {
            match answer {
                Ok(Some(text)) => self.put(path, text),
                Ok(None) => {}
                Err(why) => missing.push((path, why)),
            }
            if (before + 1) % TOLD_EVERY == 0 {
                let told = format!("  {} of {} answers", before + 1, asked.len());
                self.progress.title(&told);
            }
        }
        missing.sort();
        for (path, why) in missing {
            self.miss(path, why);
        }
    }
}

fn yaml(value: &impl Serialize) -> String {
    let mut value = serde_json::to_value(value).expect("an object of the API server is JSON");
    redact::object(&mut value);
    documents::yaml(&value)
}
