//! Binds pods to this node, for an API server that has no scheduler. There is one node, so that is
//! all there is to decide; a scheduler that was faster is right.

use std::pin::pin;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};

use super::events::{Events, Kind};

/// The scheduler that pods ask for if they ask for none.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Binds pods for as long as it is polled.
pub(crate) async fn run(client: Client, node: String) {
    let events = Events::start(client.clone(), DEFAULT_SCHEDULER.to_owned());
    let unbound = watcher::Config::default().fields("spec.nodeName=");
    let mut pods = pin!(
        watcher(Api::<Pod>::all(client.clone()), unbound)
            .default_backoff()
            .applied_objects()
    );
    while let Some(pod) = pods.next().await {
        match pod {
            Ok(pod) if wants_node(&pod) => bind(&client, &node, &events, &pod).await,
            Ok(_) => (),
            Err(error) => tracing::warn!(%error, "watching unbound pods failed; trying again"),
        }
    }
}

fn wants_node(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let gated = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty());
    let ours = spec
        .scheduler_name
        .as_deref()
        .is_none_or(|name| name == DEFAULT_SCHEDULER);
    spec.node_name.as_deref().unwrap_or_default().is_empty()
        && pod.metadata.deletion_timestamp.is_none()
        && ours
        && !gated
}

async fn bind(client: &Client, node: &str, events: &Events, pod: &Pod) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: pod.uid(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let bound = api
        .create_subresource::<_, Status>("binding", &name, &PostParams::default(), &binding)
        .await;
    match bound {
        Ok(_) => {
            let message = format!("Successfully assigned {namespace}/{name} to {node}");
            events.tell(pod, None, Kind::Normal, "Scheduled", message);
        }
        // It has a node by now, or is gone.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => (),
        Err(error) => tracing::warn!(%error, pod = name, "could not bind a pod"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wanted(metadata: Value, spec: Value) -> bool {
        let mut pod = json!({"metadata": metadata, "spec": spec});
        pod["spec"]["containers"] = json!([]);
        wants_node(&serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn leaves_pods_alone_that_have_a_node_or_another_scheduler_or_are_going() {
        assert!(!wanted(json!({}), json!({"nodeName": "x"})));
        assert!(!wanted(json!({}), json!({"schedulerName": "mine"})));
        assert!(!wanted(
            json!({}),
            json!({"schedulingGates": [{"name": "g"}]})
        ));
        assert!(!wanted(
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
            json!({})
        ));
        assert!(wanted(
            json!({}),
            json!({"schedulerName": "default-scheduler"})
        ));
        assert!(wanted(json!({}), json!({"nodeName": ""})));
    }
}
