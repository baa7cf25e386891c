//! DELETE: what goes at once, what is given time, what goes along.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use netting_sandbox::api::Options;
use serde_json::json;

use crate::harness::{Harness, code, object, pod};

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
async fn owners_that_go_take_what_they_own_along() {
    let harness = Harness::with_controllers(&[]).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(harness.admin.clone());
    let create = async |map: serde_json::Value| {
        let made = maps.create(&PostParams::default(), &object(map)).await;
        made.expect("a map")
    };
    let owner = create(json!({"metadata": {"name": "owner"}})).await;
    let reference =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()});
    create(json!({"metadata": {"name": "child", "ownerReferences": [reference]}})).await;
    let params = DeleteParams::background();
    maps.delete("owner", &params).await.expect("deleted");
    let gone = await_condition(maps.clone(), "child", |map: Option<&ConfigMap>| {
        map.is_none()
    });
    gone.await.expect("a watch");
    let orphan = DeleteParams::orphan();
    assert_eq!(
        code(maps.delete("owner", &orphan).await.expect_err("not here")).0,
        400
    );
}
