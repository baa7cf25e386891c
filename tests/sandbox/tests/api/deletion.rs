//! DELETE: what goes at once, what is given time, what goes along.

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
    runtime::watcher,
};
use netting_sandbox::api::Options;
use serde_json::json;

use crate::harness::{Harness, object, pod};

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
