//! POST, PUT and PATCH: what is refused, what is filled in, what changes.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use netting_sandbox::api::Options;
use serde_json::json;

use crate::harness::{Harness, code, object, pod};

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
    let apply = async |manager: PatchParams, replicas: u32| {
        let config =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}});
        let applied = deployments
            .patch("d", &manager, &Patch::Apply(&config))
            .await;
        applied.map(|deployment| deployment.spec.and_then(|spec| spec.replicas))
    };
    let first = apply(PatchParams::apply("me"), 7).await;
    assert_eq!(first.expect("nobody applied it before"), Some(7));
    let contested = apply(PatchParams::apply("you"), 8).await;
    assert_eq!(code(contested.expect_err("somebody else's")).0, 409);
    let taken = apply(PatchParams::apply("you").force(), 8).await;
    assert_eq!(taken.expect("forced"), Some(8));
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
    let namespaces: Api<Namespace> = Api::all(harness.admin.clone());
    let made = namespaces
        .create(
            &PostParams::default(),
            &object(json!({"metadata": {"generateName": "n-"}})),
        )
        .await
        .expect("a namespace");
    let label = made.labels().get("kubernetes.io/metadata.name");
    assert_eq!(
        label,
        Some(&made.name_any()),
        "webhooks select namespaces by it"
    );
}
