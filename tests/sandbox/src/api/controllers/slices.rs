//! EndpointSlices of Services that select pods: one for each family, and for each set of ports that
//! the Service's target ports come to.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    addresses::{self, Group},
    reference,
};
use crate::api::{
    insider::Insider, object::Object as _, resources, selector::LabelSelector, status::Status,
    store::Key,
};

pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "endpointslice-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Brings the Service's slices up to date.
pub(super) async fn look(insider: &Insider, service: &Value) -> Result<(), Status> {
    if !addresses::is_selecting(service) {
        return Ok(());
    }
    let zone = |node: &str| {
        let node = Key::new(resources::core("nodes"), "", node);
        let node = insider.cluster.store.get(&node)?;
        Some(
            node.text("/metadata/labels/topology.kubernetes.io~1zone")
                .to_owned(),
        )
    };
    let groups = addresses::groups(service, &pods_of(insider, service), zone);
    let labels = labels(service, MANAGED_BY, OURS);
    reconcile(insider, service, labels, groups).await
}

/// The pods that a Service selects.
pub(super) fn pods_of(insider: &Insider, service: &Value) -> Vec<Arc<Value>> {
    let mut pods = insider.list(resources::core("pods"), Some(service.namespace()));
    pods.retain(|pod| addresses::selects(service, pod));
    pods
}

/// Brings the slices of a Service up to date that have the same manager as these labels say. `owner`
/// is the Service, or what goes by its name.
pub(super) async fn reconcile(
    insider: &Insider,
    owner: &Value,
    mut labels: Value,
    groups: Vec<Group>,
) -> Result<(), Status> {
    let namespace = owner.namespace();
    let kind =
        resources::of_kind("discovery.k8s.io/v1", "EndpointSlice").expect("it is in the table");
    labels[SERVICE_NAME] = owner.name().into();
    let mine = json!({"matchLabels": {SERVICE_NAME: owner.name(), MANAGED_BY: labels[MANAGED_BY]}});
    let mine = LabelSelector::from_object(&mine);
    let mut existing: Vec<Value> = insider
        .list(kind, Some(namespace))
        .iter()
        .map(|slice| Value::clone(slice))
        .collect();
    existing.retain(|slice| mine.matches(slice));
    for group in groups {
        let content = json!({"metadata": {"labels": labels},
            "endpoints": group.endpoints, "ports": group.ports});
        match take_matching(&mut existing, &group) {
            Some(slice) if is_current(&slice, &content) => {}
            Some(mut slice) => {
                slice["endpoints"] = content["endpoints"].clone();
                slice["ports"] = content["ports"].clone();
                slice["metadata"]["labels"] = content["metadata"]["labels"].clone();
                insider.update(&Key::of(kind, &slice), &slice).await?;
            }
            None => {
                let mut slice = content;
                slice["addressType"] = group.family.into();
                slice["metadata"]["generateName"] = format!("{}-", owner.name()).into();
                slice["metadata"]["ownerReferences"] = json!([reference(owner)]);
                insider.create(kind, namespace, &slice).await?;
            }
        }
    }
    for left_over in existing {
        insider.delete(kind, &left_over)?;
    }
    Ok(())
}

/// The labels of what is made from `object`, with who manages it.
pub(super) fn labels(object: &Value, managed_by: &str, manager: &str) -> Value {
    let mut labels = object["metadata"]["labels"].clone();
    labels.take_out("/service.kubernetes.io~1headless");
    labels[managed_by] = manager.into();
    if object.text("/spec/clusterIP") == "None" {
        labels[HEADLESS] = "".into();
    }
    labels
}

/// The slice to use for `group`: one with the same ports, or else any that would go to waste.
fn take_matching(existing: &mut Vec<Value>, group: &Group) -> Option<Value> {
    let fits = |slice: &Value| slice["addressType"] == group.family.as_str();
    let same_ports = existing
        .iter()
        .position(|slice| fits(slice) && slice["ports"] == group.ports);
    let index = same_ports.or_else(|| existing.iter().position(fits))?;
    Some(existing.swap_remove(index))
}

fn is_current(slice: &Value, content: &Value) -> bool {
    ["/endpoints", "/ports", "/metadata/labels"]
        .iter()
        .all(|part| slice.pointer(part) == content.pointer(part))
}
