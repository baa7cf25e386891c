//! Events, which tell people what the node does with a pod and why.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::mpsc;

/// Events that wait to be written; more are lost, which costs a line in `kubectl describe`.
const QUEUE_CAPACITY: usize = 256;

/// Events whose repetitions are counted rather than written anew.
const COUNTED_MAX: usize = 1024;

/// Whether an event is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

/// Something that happened to a pod.
#[derive(Clone, Debug)]
struct Happening {
    object: ObjectReference,
    kind: Kind,
    reason: &'static str,
    message: String,
}

/// Writes events in the background.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<Happening>);

impl Events {
    /// Starts the writer, which ends when all clones of the result are gone.
    pub(crate) fn start(client: Client, node: String) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_CAPACITY);
        tokio::spawn(write_all(client, node, receiver));
        Self(sender)
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
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            field_path: container.map(|name| format!("spec.containers{{{name}}}")),
            ..ObjectReference::default()
        };
        let message = message.into();
        tracing::debug!(pod = pod.name_any(), reason, message, "event");
        if self
            .0
            .try_send(Happening {
                object,
                kind,
                reason,
                message,
            })
            .is_err()
        {
            tracing::debug!(reason, "lost an event, too many wait to be written");
        }
    }
}

async fn write_all(client: Client, node: String, mut happenings: mpsc::Receiver<Happening>) {
    let mut written: HashMap<String, (String, i32)> = HashMap::new();
    while let Some(happening) = happenings.recv().await {
        let namespace = happening.object.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        if written.len() >= COUNTED_MAX {
            written.clear();
        }
        let key = key(&happening);
        let result = if let Some((name, count)) = written.get_mut(&key) {
            *count += 1;
            let now = Time(Timestamp::now());
            let patch = serde_json::json!({"count": count, "lastTimestamp": now});
            api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .map(drop)
        } else {
            let event = event(happening, &node);
            written.insert(key.clone(), (event.name_any(), 1));
            api.create(&PostParams::default(), &event).await.map(drop)
        };
        if let Err(error) = result {
            // Most often the namespace is going away.
            tracing::debug!(%error, "could not write an event");
            written.remove(&key);
        }
    }
}

fn key(happening: &Happening) -> String {
    let Happening {
        object,
        reason,
        message,
        ..
    } = happening;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "{}/{}/{reason}/{message}",
        part(&object.uid),
        part(&object.field_path)
    )
}

fn event(happening: Happening, node: &str) -> Event {
    let Happening {
        object,
        kind,
        reason,
        message,
    } = happening;
    let now = Timestamp::now();
    Event {
        metadata: ObjectMeta {
            // As client-go names them: unique, and sorted by time.
            name: Some(format!(
                "{}.{:x}",
                object.name.as_deref().unwrap_or_default(),
                now.as_nanosecond()
            )),
            namespace: object.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: object,
        reason: Some(reason.to_owned()),
        message: Some(message),
        type_: Some(format!("{kind:?}")),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource {
            component: Some("kubelet".to_owned()),
            host: Some(node.to_owned()),
        }),
        reporting_component: Some("kubelet".to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    }
}
