//! What only a client library does: watchers that resume, logs, and the node's own kubeconfig.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, LogParams, PostParams},
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use netting_sandbox::api::Options;
use serde_json::json;

use crate::{
    harness::{Harness, client, code, object, pod},
    webhook::tls_server,
};

#[tokio::test]
async fn watchers_and_reflectors_follow_either_way() {
    let harness = Harness::start(Options::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(harness.admin.clone());
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let (store, writer) = reflector::store();
        let stream = reflector(writer, watcher(maps.clone(), config)).applied_objects();
        let mut stream = std::pin::pin!(stream);
        let first = stream
            .try_next()
            .await
            .expect("a watch")
            .expect("there is one from the start");
        assert_eq!(first.name_any(), "kube-root-ca.crt");
        maps.create(
            &PostParams::default(),
            &object(json!({"metadata": {"name": "m"}})),
        )
        .await
        .expect("a map");
        while let Some(seen) = stream.try_next().await.expect("a watch") {
            if seen.name_any() == "m" {
                break;
            }
        }
        assert!(store.state().iter().any(|map| map.name_any() == "m"));
        maps.delete("m", &DeleteParams::default())
            .await
            .expect("deleted");
    }
}

#[tokio::test]
async fn the_logs_of_a_pod_are_asked_of_its_node() {
    let harness = Harness::start(Options::default()).await;
    let kubelet = tls_server(|request: http::Request<Vec<u8>>| {
        let path = request.uri().to_string();
        if path.contains("/absent/") {
            (404, "no such container\n".to_owned())
        } else {
            (200, format!("{path}\n"))
        }
    })
    .await;
    let node: Node = object(json!({"metadata": {"name": "n"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.addr.port()}}}}));
    Api::<Node>::all(harness.admin.clone())
        .create(&PostParams::default(), &node)
        .await
        .expect("a node");
    let pods: Api<Pod> = Api::default_namespaced(harness.admin.clone());
    pods.create(&PostParams::default(), &pod("waiting"))
        .await
        .expect("a pod");
    let (status, message) = code(
        pods.logs("waiting", &LogParams::default())
            .await
            .expect_err("not bound"),
    );
    assert_eq!(
        (status, message.as_str()),
        (400, "pod waiting does not have a host assigned")
    );
    let mut bound = pod("x");
    bound.spec.as_mut().expect("a spec").node_name = Some("n".into());
    pods.create(&PostParams::default(), &bound)
        .await
        .expect("a pod");
    let params = LogParams {
        tail_lines: Some(5),
        previous: true,
        ..LogParams::default()
    };
    let text = pods.logs("x", &params).await.expect("the kubelet's answer");
    assert!(text.starts_with("/containerLogs/default/x/app?"), "{text}");
    assert!(
        text.contains("previous=true") && text.contains("tailLines=5"),
        "{text}"
    );
    let wrong = LogParams {
        container: Some("nope".into()),
        ..LogParams::default()
    };
    let (status, message) = code(pods.logs("x", &wrong).await.expect_err("no such container"));
    assert_eq!(
        (status, message.as_str()),
        (400, "container nope is not valid for pod x")
    );
}

#[tokio::test]
async fn a_kubeconfig_of_the_node_may_do_what_nodes_do() {
    let harness = Harness::start(Options::default()).await;
    let node = client(&harness.cluster.node_kubeconfig(&harness.url, "n")).await;
    let nodes: Api<Node> = Api::all(node.clone());
    nodes
        .create(
            &PostParams::default(),
            &object(json!({"metadata": {"name": "n"}})),
        )
        .await
        .expect("its own");
    let services: Api<Service> = Api::default_namespaced(node);
    let wanted = object(
        json!({"metadata": {"name": "s", "labels": BTreeMap::from([("a", "b")])}, "spec": {"ports": [{"port": 1}]}}),
    );
    assert_eq!(
        code(
            services
                .create(&PostParams::default(), &wanted)
                .await
                .expect_err("not a node's business")
        )
        .0,
        403
    );
}
