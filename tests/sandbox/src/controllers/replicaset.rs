//! ReplicaSets: as many pods as they say.

use std::{cmp::Ordering, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Pod, PodTemplateSpec},
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::json;

use super::{
    MANAGER,
    addresses::is_ready,
    owned,
    queue::{self, Place},
};

/// Keeps all ReplicaSets up to date.
pub(super) async fn run(client: Client) {
    let queue = queue::Queue::new();
    let config = watcher::Config::default;
    queue::watch(
        Api::all(client.clone()),
        config(),
        &queue,
        |one: &ReplicaSet| vec![Place::of(one)],
    )
    .await;
    queue::watch(Api::all(client.clone()), config(), &queue, |pod: &Pod| {
        owned::controller(pod, "ReplicaSet")
    })
    .await;
    queue::run("replicaset", queue, |place| look(client.clone(), place)).await;
}

async fn look(client: Client, place: Place) -> anyhow::Result<Option<Duration>> {
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &place.namespace);
    let pods: Api<Pod> = Api::namespaced(client, &place.namespace);
    let Some(set) = sets.get_opt(&place.name).await? else {
        return Ok(None);
    };
    let Some(spec) = set
        .spec
        .clone()
        .filter(|_| set.metadata.deletion_timestamp.is_none())
    else {
        return Ok(None);
    };
    let mut active = pods.list(&owned::selected(&spec.selector)?).await?.items;
    active.retain(|pod| owned::controls(&set, pod) && is_active(pod));
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let template = spec.template.unwrap_or_default();
    for _ in active.len()..wanted {
        let pod = pod(&set, "ReplicaSet", &template)?;
        active.push(pods.create(&post(), &pod).await?);
    }
    if active.len() > wanted {
        active.sort_by(worth);
        for pod in active.drain(wanted..) {
            pods.delete(&pod.name_any(), &DeleteParams::default())
                .await?;
        }
    }
    let least_seconds = i64::from(spec.min_ready_seconds.unwrap_or(0));
    let ready: Vec<&Pod> = active.iter().filter(|pod| is_ready(pod)).collect();
    let waits: Vec<i64> = ready
        .iter()
        .map(|pod| least_seconds - ready_seconds(pod))
        .filter(|wait| *wait > 0)
        .collect();
    let status = json!({"status": {
        "observedGeneration": set.metadata.generation,
        "replicas": active.len(),
        "fullyLabeledReplicas": count(active.len()),
        "readyReplicas": count(ready.len()),
        "availableReplicas": count(ready.len() - waits.len()),
    }});
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    sets.patch_status(&place.name, &params, &Patch::Merge(&status))
        .await?;
    Ok(waits
        .into_iter()
        .min()
        .and_then(|wait| u64::try_from(wait).ok())
        .map(Duration::from_secs))
}

/// Counts of nothing are left out.
fn count(count: usize) -> Option<usize> {
    (count > 0).then_some(count)
}

/// A pod made from `template`, owned by `owner`, which is of `kind`.
pub(super) fn pod<K: Resource<DynamicType = ()>>(
    owner: &K,
    kind: &str,
    template: &PodTemplateSpec,
) -> anyhow::Result<Pod> {
    let metadata = template.metadata.clone().unwrap_or_default();
    tracing::debug!(kind, owner = owner.name_any(), "makes a pod");
    Ok(serde_json::from_value(json!({
        "metadata": {"generateName": format!("{}-", owner.name_any()), "labels": metadata.labels,
            "annotations": metadata.annotations, "ownerReferences": [owned::reference(owner)]},
        "spec": template.spec,
    }))?)
}

/// How a controller creates.
pub(super) fn post() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Whether the pod counts: it has not ended, and isn't about to.
pub(super) fn is_active(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// The order in which pods are kept: ready ones, then those that run, then the older.
fn worth(one: &Pod, other: &Pod) -> Ordering {
    let rank = |pod: &Pod| {
        let bound = pod
            .spec
            .as_ref()
            .is_some_and(|spec| spec.node_name.is_some());
        let runs = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            == Some("Running");
        (is_ready(pod), runs, bound)
    };
    rank(other)
        .cmp(&rank(one))
        .then_with(|| one.creation_timestamp().cmp(&other.creation_timestamp()))
}

fn ready_seconds(pod: &Pod) -> i64 {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    let since = ready.and_then(|condition| condition.last_transition_time.as_ref());
    since.map_or(0, |since| {
        Timestamp::now().as_second() - since.0.as_second()
    })
}
