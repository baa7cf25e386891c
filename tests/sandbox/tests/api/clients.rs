//! The server under kube-rs, which takes nothing for granted that a real server doesn't do.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Node, Pod, Service, ServiceAccount},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, PropagationPolicy},
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use netting_sandbox::api::Options;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::harness::{Harness, client};

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("the kind's shape")
}

fn pod(name: &str) -> Pod {
    object(
        json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "app", "image": "example.org/app:1"}]}}),
    )
}

fn code(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not an answer of the API: {other}"),
    }
}

#[tokio::test]
async fn unknown_and_finished_namespaces_take_nothing() {
    let harness = Harness::start(Options::default()).await;
    let pods: Api<Pod> = Api::namespaced(harness.admin.clone(), "nowhere");
    let (status, message) = code(
        pods.create(&PostParams::default(), &pod("x"))
            .await
            .expect_err("no namespace"),
    );
    assert_eq!(
        (status, message.as_str()),
        (404, "namespaces \"nowhere\" not found")
    );
    harness.namespace("ending").await;
    let namespaces: Api<Namespace> = Api::all(harness.admin.clone());
    namespaces
        .delete("ending", &DeleteParams::default())
        .await
        .expect("it is there");
    let pods: Api<Pod> = Api::namespaced(harness.admin.clone(), "ending");
    let (status, message) = code(
        pods.create(&PostParams::default(), &pod("x"))
            .await
            .expect_err("it is ending"),
    );
    assert_eq!(status, 403, "{message}");
}

#[tokio::test]
async fn refuses_bodies_it_cannot_use() {
    let harness = Harness::start(Options::default()).await;
    let pods = "/api/v1/namespaces/default/pods";
    for (content_type, body, expected) in [
        (
            "application/json",
            json!({"apiVersion": "v2", "kind": "Pod"}),
            400,
        ),
        ("application/json", json!({"kind": "Service"}), 400),
        ("application/json", json!(["a"]), 400),
        ("application/json", json!({"metadata": {"name": 7}}), 400),
        (
            "application/json",
            json!({"metadata": {"name": "x", "namespace": "other"}}),
            400,
        ),
        ("application/vnd.kubernetes.protobuf", json!({}), 415),
    ] {
        let answer = harness.send("POST", pods, content_type, &body).await;
        assert_eq!(
            (answer.status, &answer.body["kind"]),
            (expected, &json!("Status")),
            "{}",
            answer.body
        );
    }
    let huge = json!({"data": {"a": "x".repeat(3 * 1024 * 1024)}});
    assert_eq!(
        harness
            .post("/api/v1/namespaces/default/configmaps", huge)
            .await
            .status,
        413
    );
    assert_eq!(
        harness
            .send("PATCH", &format!("{pods}/x"), "text/plain", &json!({}))
            .await
            .status,
        415
    );
    assert_eq!(harness.get("/api/v1/gadgets").await.status, 404);
    assert_eq!(
        harness
            .send("PUT", pods, "application/json", &json!({}))
            .await
            .status,
        405
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_or_warned_of() {
    let harness = Harness::start(Options::default()).await;
    let body = json!({"metadata": {"name": "x"}, "spec": {"containerz": [1], "containers": [{"name": "a", "image": "a"}]}});
    let strict = harness
        .post(
            "/api/v1/namespaces/default/pods?fieldValidation=Strict",
            body.clone(),
        )
        .await;
    assert_eq!(strict.status, 400);
    assert_eq!(
        strict.body["message"],
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.containerz\""
    );
    let warned = harness.post("/api/v1/namespaces/default/pods", body).await;
    assert_eq!(warned.status, 201, "{}", warned.body);
    assert_eq!(
        warned.headers["warning"],
        "299 - \"unknown field \\\"spec.containerz\\\"\""
    );
}

#[tokio::test]
async fn pods_get_their_defaults_their_account_and_its_token() {
    let harness = Harness::start(Options::default()).await;
    let pods: Api<Pod> = Api::default_namespaced(harness.admin.clone());
    let mut wanted = pod("x");
    wanted.spec.as_mut().expect("a spec").service_account_name = Some("nobody".into());
    let (status, message) = code(
        pods.create(&PostParams::default(), &wanted)
            .await
            .expect_err("no account"),
    );
    assert_eq!(status, 403, "{message}");
    assert!(
        message.contains("error looking up service account default/nobody"),
        "{message}"
    );
    let made = pods
        .create(&PostParams::default(), &pod("x"))
        .await
        .expect("a pod");
    let spec = made.spec.expect("a spec");
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert_eq!(spec.volumes.map(|volumes| volumes.len()), Some(1));
    assert_eq!(
        spec.tolerations.map(|tolerations| tolerations.len()),
        Some(2)
    );
    let status = made.status.expect("a status");
    assert_eq!(
        (status.phase.as_deref(), status.qos_class.as_deref()),
        (Some("Pending"), Some("BestEffort"))
    );
    let accounts: Api<ServiceAccount> = Api::default_namespaced(harness.admin.clone());
    let patch = Patch::Merge(json!({"automountServiceAccountToken": false}));
    accounts
        .patch("default", &PatchParams::default(), &patch)
        .await
        .expect("patched");
    let bare = pods
        .create(&PostParams::default(), &pod("y"))
        .await
        .expect("a pod");
    assert!(bare.spec.expect("a spec").volumes.is_none());
}

#[tokio::test]
async fn services_get_addresses_of_the_families_they_ask_for() {
    let harness = Harness::start(Options::default()).await;
    let services: Api<Service> = Api::default_namespaced(harness.admin.clone());
    for (policy, families) in [
        ("SingleStack", vec!["IPv4"]),
        ("PreferDualStack", vec!["IPv4", "IPv6"]),
    ] {
        let wanted = object(json!({"metadata": {"name": policy.to_lowercase()},
            "spec": {"ipFamilyPolicy": policy, "ports": [{"port": 80}]}}));
        let spec = services
            .create(&PostParams::default(), &wanted)
            .await
            .expect("a service")
            .spec
            .expect("a spec");
        assert_eq!(spec.ip_families.as_deref().unwrap_or_default(), families);
        let addresses = spec.cluster_ips.unwrap_or_default();
        assert_eq!(addresses.len(), families.len());
        assert!(addresses[0].starts_with("10.96."), "{addresses:?}");
        assert!(
            addresses
                .iter()
                .skip(1)
                .all(|address| address.starts_with("fd00:10:96::")),
            "{addresses:?}"
        );
    }
    let taken = services
        .get("singlestack")
        .await
        .expect("it is there")
        .spec
        .expect("a spec")
        .cluster_ip;
    let again = object(
        json!({"metadata": {"name": "again"}, "spec": {"clusterIP": taken, "ports": [{"port": 1}]}}),
    );
    let (status, message) = code(
        services
            .create(&PostParams::default(), &again)
            .await
            .expect_err("taken"),
    );
    assert_eq!(status, 422, "{message}");
    let moved = Patch::Merge(
        json!({"spec": {"clusterIP": "10.96.200.200", "clusterIPs": ["10.96.200.200"]}}),
    );
    let (status, message) = code(
        services
            .patch("singlestack", &PatchParams::default(), &moved)
            .await
            .expect_err("fixed"),
    );
    assert_eq!(status, 422, "{message}");
}

#[tokio::test]
async fn patches_of_every_kind_apply() {
    let harness = Harness::start(Options::default()).await;
    let deployments: Api<Deployment> = Api::default_namespaced(harness.admin.clone());
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
    let spec = json!({"selector": {"matchLabels": {"app": "a"}}, "template": template});
    let wanted = object(json!({"metadata": {"name": "d"}, "spec": spec}));
    deployments
        .create(&PostParams::default(), &wanted)
        .await
        .expect("a deployment");
    let sidecar =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:1"}]}}}});
    let both = deployments
        .patch("d", &PatchParams::default(), &Patch::Strategic(&sidecar))
        .await
        .expect("patched");
    assert_eq!(both.metadata.generation, Some(2));
    let names = |deployment: &Deployment| -> Vec<String> {
        let spec = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.template.spec.as_ref());
        spec.into_iter()
            .flat_map(|spec| &spec.containers)
            .map(|container| container.name.clone())
            .collect()
    };
    assert_eq!(names(&both), ["a", "b"]);
    let only = deployments
        .patch("d", &PatchParams::default(), &Patch::Merge(&sidecar))
        .await
        .expect("patched");
    assert_eq!(names(&only), ["b"]);
    let operations: json_patch::Patch =
        object(json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]));
    let scaled = deployments
        .patch("d", &PatchParams::default(), &Patch::Json::<()>(operations))
        .await
        .expect("patched");
    assert_eq!(scaled.spec.and_then(|spec| spec.replicas), Some(3));
    let scale = deployments
        .patch_scale(
            "d",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 5}})),
        )
        .await;
    assert_eq!(
        scale.expect("scaled").spec.and_then(|spec| spec.replicas),
        Some(5)
    );
    let applied = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 7}});
    let contested = deployments
        .patch("d", &PatchParams::apply("me"), &Patch::Apply(&applied))
        .await;
    assert_eq!(code(contested.expect_err("somebody else's")).0, 409);
    let taken = deployments
        .patch(
            "d",
            &PatchParams::apply("me").force(),
            &Patch::Apply(&applied),
        )
        .await;
    assert_eq!(
        taken.expect("forced").spec.and_then(|spec| spec.replicas),
        Some(7)
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let harness = Harness::start(Options::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(harness.admin.clone());
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    maps.create(&params, &object(json!({"metadata": {"name": "m"}})))
        .await
        .expect("it would do");
    assert!(maps.get_opt("m").await.expect("an answer").is_none());
}

#[tokio::test]
async fn status_is_written_through_its_own_path_alone() {
    let harness = Harness::start(Options::default()).await;
    let pods: Api<Pod> = Api::default_namespaced(harness.admin.clone());
    pods.create(&PostParams::default(), &pod("x"))
        .await
        .expect("a pod");
    let status = Patch::Merge(json!({"status": {"phase": "Running"}, "spec": {"nodeName": "n"}}));
    pods.patch(
        "x",
        &PatchParams::default(),
        &Patch::Merge(json!({"status": {"phase": "Failed"}})),
    )
    .await
    .expect("ignored");
    let patched = pods
        .patch_status("x", &PatchParams::default(), &status)
        .await
        .expect("patched");
    assert_eq!(
        patched.status.and_then(|status| status.phase).as_deref(),
        Some("Running")
    );
    assert!(patched.spec.and_then(|spec| spec.node_name).is_none());
}

#[tokio::test]
async fn pods_that_run_are_given_time_and_finalizers_hold_objects() {
    let harness = Harness::start(Options::default()).await;
    let pods: Api<Pod> = Api::default_namespaced(harness.admin.clone());
    let mut bound = pod("x");
    bound.spec.as_mut().expect("a spec").node_name = Some("n".into());
    pods.create(&PostParams::default(), &bound)
        .await
        .expect("a pod");
    let marked = pods
        .delete("x", &DeleteParams::default())
        .await
        .expect("deleted")
        .left()
        .expect("a pod is returned");
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    pods.delete("x", &DeleteParams::default().grace_period(60))
        .await
        .expect("no longer than before");
    let shorter = pods
        .delete("x", &DeleteParams::default().grace_period(5))
        .await
        .expect("deleted")
        .left();
    assert_eq!(
        shorter.and_then(|pod| pod.metadata.deletion_grace_period_seconds),
        Some(5)
    );
    pods.delete("x", &DeleteParams::default().grace_period(0))
        .await
        .expect("deleted");
    assert!(pods.get_opt("x").await.expect("an answer").is_none());
    let maps: Api<ConfigMap> = Api::default_namespaced(harness.admin.clone());
    let held = object(json!({"metadata": {"name": "m", "finalizers": ["example.org/hold"]}}));
    maps.create(&PostParams::default(), &held)
        .await
        .expect("a map");
    maps.delete("m", &DeleteParams::default())
        .await
        .expect("marked");
    assert!(
        maps.get("m")
            .await
            .expect("it is held")
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("m", &PatchParams::default(), &release)
        .await
        .expect("released");
    assert!(maps.get_opt("m").await.expect("an answer").is_none());
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let harness = Harness::start(Options::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(harness.admin.clone());
    for (name, label) in [("a", "1"), ("b", "1"), ("c", "2")] {
        let map = object(json!({"metadata": {"name": name, "labels": {"l": label}}}));
        maps.create(&PostParams::default(), &map)
            .await
            .expect("a map");
    }
    let selected = ListParams::default().labels("l=1");
    maps.delete_collection(&DeleteParams::default(), &selected)
        .await
        .expect("deleted");
    let left = maps
        .list(&ListParams::default().labels("l"))
        .await
        .expect("a list");
    assert_eq!(
        left.iter()
            .map(kube::ResourceExt::name_any)
            .collect::<Vec<_>>(),
        ["c"]
    );
}

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
async fn names_are_generated() {
    let harness = Harness::start(Options::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(harness.admin.clone());
    let made = maps
        .create(
            &PostParams::default(),
            &object(json!({"metadata": {"generateName": "m-"}})),
        )
        .await
        .expect("a map");
    assert_eq!(made.name_any().len(), "m-".len() + 5);
}

#[tokio::test]
async fn owners_that_go_take_what_they_own_along() {
    let harness = Harness::with_controllers(&[]).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(harness.admin.clone());
    for (policy, survives) in [
        (PropagationPolicy::Background, false),
        (PropagationPolicy::Foreground, false),
        (PropagationPolicy::Orphan, true),
    ] {
        let owner = maps
            .create(
                &PostParams::default(),
                &object(json!({"metadata": {"generateName": "owner-"}})),
            )
            .await
            .expect("a map");
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(), "blockOwnerDeletion": true});
        let child = json!({"metadata": {"generateName": "child-", "ownerReferences": [reference]}});
        let child = maps
            .create(&PostParams::default(), &object(child))
            .await
            .expect("a map");
        let params = DeleteParams {
            propagation_policy: Some(policy.clone()),
            ..DeleteParams::default()
        };
        let name = if survives {
            owner.name_any()
        } else {
            child.name_any()
        };
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = std::pin::pin!(watcher(maps.clone(), config));
        while !matches!(events.next().await, Some(Ok(watcher::Event::InitDone))) {}
        maps.delete(&owner.name_any(), &params)
            .await
            .expect("deleted");
        while !matches!(events.next().await, Some(Ok(watcher::Event::Delete(_)))) {}
        let left = maps.get_opt(&child.name_any()).await.expect("an answer");
        assert_eq!(
            left.map(|left| left.owner_references().len()),
            survives.then_some(0),
            "{policy:?}"
        );
    }
}

#[tokio::test]
async fn the_logs_of_a_pod_are_asked_of_its_node() {
    let harness = Harness::start(Options::default()).await;
    let kubelet = crate::admission::tls_server(|request: http::Request<Vec<u8>>| {
        let path = request.uri().to_string();
        if path.contains("/absent/") {
            (404, "no such container\n".to_owned())
        } else {
            (200, format!("{path}\n"))
        }
    })
    .await;
    let node: Node = object(json!({"metadata": {"name": "n"}, "status": {
        "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "127.0.0.1"}],
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
