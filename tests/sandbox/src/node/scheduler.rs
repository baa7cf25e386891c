//! Binds pods to this node, for an API server that has no scheduler. There is one node, so that is
//! all there is to decide; a scheduler that was faster is right.

use std::pin::pin;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

/// Binds pods for as long as it is polled.
pub(crate) async fn run(client: Client, node: String) {
    let unbound = watcher::Config::default().fields("spec.nodeName=");
    let pods = watcher(Api::<Pod>::all(client.clone()), unbound).default_backoff();
    let mut pods = pin!(pods.applied_objects());
    while let Some(pod) = pods.next().await {
        match pod {
            Ok(pod) if wants_node(&pod) => bind(&client, &node, &pod).await,
            Ok(_) => (),
            Err(error) => tracing::warn!(%error, "watching unbound pods failed; trying again"),
        }
    }
}

fn wants_node(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let scheduler = spec
        .scheduler_name
        .as_deref()
        .unwrap_or("default-scheduler");
    let gated = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty());
    let bound = spec.node_name.as_ref().is_some_and(|name| !name.is_empty());
    let going = pod.metadata.deletion_timestamp.is_some();
    scheduler == "default-scheduler" && !gated && !bound && !going
}

async fn bind(client: &Client, node: &str, pod: &Pod) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let binding = json!({"apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": pod.uid()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let params = PostParams::default();
    match api
        .create_subresource::<_, Status>("binding", &name, &params, &binding)
        .await
    {
        Ok(_) => {}
        // It has a node by now, or is gone.
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => (),
        Err(error) => tracing::warn!(%error, pod = name, "could not bind a pod"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn wanted(metadata: Value, spec: Value) -> bool {
        let mut pod = json!({"metadata": metadata, "spec": spec});
        pod["spec"]["containers"] = json!([]);
        wants_node(&serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn leaves_pods_alone_that_have_a_node_or_another_scheduler_or_are_going() {
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(!wanted(json!({}), json!({"nodeName": "x"})));
        assert!(!wanted(json!({}), json!({"schedulerName": "mine"})));
        assert!(!wanted(
            json!({}),
            json!({"schedulingGates": [{"name": "g"}]})
        ));
        assert!(!wanted(going, json!({})));
        assert!(wanted(
            json!({}),
            json!({"schedulerName": "default-scheduler", "nodeName": ""})
        ));
    }
}
