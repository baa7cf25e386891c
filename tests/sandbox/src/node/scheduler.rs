//! Binds pods to this node, for an API server that has no scheduler. There is one node, so that is
//! all there is to decide; a scheduler that was faster is right.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

/// After an attempt that failed: nobody tells of a pod again that doesn't change. An API server that
/// has just started forbids what it can't judge yet, which looks as if it always would.
const RETRY: Duration = Duration::from_secs(1);
const ATTEMPTS_MAX: usize = 30;

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
    for _ in 0..ATTEMPTS_MAX {
        let bound = api.create_subresource::<_, Status>("binding", &name, &params, &binding);
        match bound.await {
            Ok(_) => return,
            // It has a node by now, or is gone.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => return,
            Err(error) => tracing::warn!(%error, pod = name, "could not bind a pod"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Json, Router, http::StatusCode, routing::post};
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

    /// How often a server is asked for a binding that answers with these codes, and then well.
    async fn asked(codes: &'static [u16]) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let answer = move || {
            let code = codes.get(counted.fetch_add(1, Ordering::Relaxed));
            let code = code.copied().unwrap_or(201);
            let body = json!({"kind": "Status", "apiVersion": "v1", "code": code});
            let code = StatusCode::from_u16(code).expect("a code");
            std::future::ready((code, Json(body)))
        };
        let path = "/api/v1/namespaces/shop/pods/web/binding";
        let router = Router::new().route(path, post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = tokio::spawn(async { axum::serve(listener, router).await });
        let config = kube::Config::new(url.parse().expect("a URL"));
        let client = Client::try_from(config).expect("a client");
        let pod = json!({"metadata": {"name": "web", "namespace": "shop"}});
        let pod = serde_json::from_value(pod).expect("a pod");
        bind(&client, "box", &pod).await;
        server.abort();
        count.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_binding_is_asked_for_until_the_api_server_has_decided() {
        for decided in [&[][..], &[404], &[409]] {
            assert_eq!(asked(decided).await, 1, "{decided:?}");
        }
        assert_eq!(asked(&[500, 403]).await, 3);
    }
}
