//! Events, which tell people what the node does with a pod and why.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Events that wait to be written; more are lost, which costs a line in `kubectl describe`.
const QUEUE_CAPACITY: usize = 256;

/// Whether an event is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

/// Writes events in the background, each once: what is said again is not written again.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    queue: mpsc::Sender<Value>,
    node: String,
}

impl Events {
    /// Starts the writer, which ends when all clones of the result are gone.
    pub(crate) fn start(client: Client, node: String) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE_CAPACITY);
        tokio::spawn(write_all(client, receiver));
        Self { queue, node }
    }

    /// Tells of something that happened to a pod, or to one of its containers.
    pub(crate) fn tell(
        &self,
        pod: &Pod,
        container: Option<&str>,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let message = message.into();
        tracing::debug!(pod = pod.name_any(), reason, message, "event");
        let metadata = &pod.metadata;
        let field = container.map(|name| format!("spec.containers{{{name}}}"));
        let mut hasher = DefaultHasher::new();
        (&metadata.uid, &field, reason, &message).hash(&mut hasher);
        let name = format!("{}.{:016x}", pod.name_any(), hasher.finish());
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let event = json!({
            "metadata": {"name": name, "namespace": metadata.namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": metadata.name,
                "namespace": metadata.namespace, "uid": metadata.uid, "fieldPath": field},
            "type": format!("{kind:?}"), "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "kubelet", "host": self.node},
            "reportingComponent": "kubelet", "reportingInstance": self.node,
        });
        if self.queue.try_send(event).is_err() {
            tracing::debug!(reason, "lost an event, too many wait to be written");
        }
    }
}

async fn write_all(client: Client, mut queue: mpsc::Receiver<Value>) {
    while let Some(event) = queue.recv().await {
        let event: Event = serde_json::from_value(event).expect("it was made in the kind's shape");
        let namespace = event.namespace().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        match api.create(&PostParams::default(), &event).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            // Most often the namespace is going away.
            Err(error) => tracing::debug!(%error, "could not write an event"),
            Ok(_) => {}
        }
    }
}
