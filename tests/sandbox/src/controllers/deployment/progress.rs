//! A Deployment's status: how far its rollout is. No I/O.

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    jiff::Timestamp,
};
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use crate::controllers::rollout::{self, Replicas};

/// The merge patch that brings the status up to date with the ReplicaSets; `None` if it is.
pub(super) fn patch(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    old: &[ReplicaSet],
) -> Option<Value> {
    let mut current = json!(deployment.status);
    if let Some(fields) = current.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let mut wanted = status(deployment, new, old);
    if current == wanted {
        return None;
    }
    // Counts that became 0 are taken away.
    for key in current.as_object().into_iter().flat_map(Map::keys) {
        if wanted.get(key).is_none() {
            wanted[key] = Value::Null;
        }
    }
    Some(json!({"status": wanted}))
}

fn status(deployment: &Deployment, new: Option<&ReplicaSet>, old: &[ReplicaSet]) -> Value {
    let all = || new.into_iter().chain(old);
    let ready: i32 = all()
        .filter_map(|set| set.status.as_ref()?.ready_replicas)
        .sum();
    let available: i32 = all().map(|set| Replicas::of(set).available).sum();
    let total: i32 = all().map(|set| Replicas::of(set).actual).sum();
    let updated = new.map_or(0, |set| Replicas::of(set).actual);
    let desired = rollout::desired(deployment);
    let mut status = json!({"observedGeneration": deployment.metadata.generation, "replicas": total,
        "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": available,
        "unavailableReplicas": (total.max(desired) - available).max(0)});
    if let Some(counts) = status.as_object_mut() {
        counts.retain(|_, count| *count != 0);
    }
    let enough = available >= desired - rollout::bounds(deployment).1;
    let done = updated == desired && total == desired && available == desired;
    let set = new.map(ResourceExt::name_any).unwrap_or_default();
    let available = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".to_owned(),
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.".to_owned(),
        )
    };
    let progressing = if done {
        (
            "True",
            "NewReplicaSetAvailable",
            format!("ReplicaSet \"{set}\" has successfully progressed."),
        )
    } else {
        (
            "True",
            "ReplicaSetUpdated",
            format!("ReplicaSet \"{set}\" is progressing."),
        )
    };
    let before = json!(
        deployment
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref())
    );
    status["conditions"] = json!([
        condition(&before, "Available", &available),
        condition(&before, "Progressing", &progressing),
    ]);
    status
}

/// A condition of status, reason and message, which keeps its times as long as it says the same.
fn condition(before: &Value, kind: &str, says: &(&str, &str, String)) -> Value {
    let (holds, reason, message) = says;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut conditions = before.as_array().into_iter().flatten();
    let previous = conditions.find(|one| one["type"] == kind);
    let same = previous.filter(|one| {
        one["status"] == *holds && one["reason"] == *reason && one["message"] == *message
    });
    if let Some(same) = same {
        return same.clone();
    }
    let since = previous.filter(|one| one["status"] == *holds);
    let since = since.map_or_else(
        || now.as_str().into(),
        |one| one["lastTransitionTime"].clone(),
    );
    json!({"type": kind, "status": holds, "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": since})
}
