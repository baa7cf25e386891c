//! Pods made from templates: how ReplicaSets keep as many as they say.

use serde_json::{Value, json};

use super::{controls, reference};
use crate::api::{
    insider::Insider, object::Object as _, resources, selector::LabelSelector, status::Status,
    store::Key,
};

/// Brings the pods of the ReplicaSet `set` up to its number.
pub(super) async fn look_at_set(insider: &Insider, set: &Value) -> Result<(), Status> {
    let mut active = owned(insider, set);
    active.retain(is_active);
    let wanted = usize::try_from(set.integer("/spec/replicas").unwrap_or(1)).unwrap_or(0);
    for _ in active.len()..wanted {
        active.push(make(insider, set).await?);
    }
    // Those that serve stay, then those that run somewhere, then the older ones.
    active.sort_by_key(|pod| {
        let age = pod.text("/metadata/creationTimestamp").to_owned();
        (
            !pod.has_condition("Ready"),
            pod.text("/spec/nodeName").is_empty(),
            age,
        )
    });
    for pod in active.drain(wanted.min(active.len())..) {
        insider.delete(resources::core("pods"), &pod)?;
    }
    let ready = active
        .iter()
        .filter(|pod| pod.has_condition("Ready"))
        .count();
    let status = json!({"status": {"observedGeneration": set["metadata"]["generation"],
        "replicas": active.len(), "fullyLabeledReplicas": active.len(),
        "readyReplicas": ready, "availableReplicas": ready}});
    let sets = resources::find("apps", "v1", "replicasets").expect("it is in the table");
    insider.patch(&Key::of(sets, set), "status", &status).await
}

/// The pods that `owner` selects and controls.
pub(super) fn owned(insider: &Insider, owner: &Value) -> Vec<Value> {
    let selector = LabelSelector::from_object(&owner["spec"]["selector"]);
    let pods = insider.list(resources::core("pods"), Some(owner.namespace()));
    let pods = pods
        .iter()
        .filter(|pod| selector.matches(pod) && controls(owner, pod));
    pods.map(|pod| Value::clone(pod)).collect()
}

/// Makes a pod from the template of `owner`.
pub(super) async fn make(insider: &Insider, owner: &Value) -> Result<Value, Status> {
    let template = &owner["spec"]["template"];
    let mut metadata = json!({"generateName": format!("{}-", owner.name()), "ownerReferences": [reference(owner)]});
    for field in ["labels", "annotations"] {
        // A template without them makes pods without them, which to CEL is not the same as null.
        if let Some(given) = template["metadata"].get(field) {
            metadata[field] = given.clone();
        }
    }
    let pod = json!({"metadata": metadata, "spec": template["spec"]});
    insider
        .create(resources::core("pods"), owner.namespace(), &pod)
        .await
}

/// Whether the pod counts: it has not ended, and isn't about to.
pub(super) fn is_active(pod: &Value) -> bool {
    !pod.is_terminating() && !matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}
