//! EndpointSlices of Services that select pods: one for each family, and for each set of ports that
//! the Service's target ports come to.

use serde_json::{Value, json};

use super::{
    addresses::{self, Group},
    reference,
};
use crate::api::{
    insider::Insider, object::Object as _, resources, selector::LabelSelector, status::Status,
    store::Key,
};

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "endpointslice-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Brings the Service's slices up to date.
pub(super) async fn look(insider: &Insider, service: &Value) -> Result<(), Status> {
    if !addresses::is_selecting(service) {
        return Ok(());
    }
    let namespace = service.namespace();
    let mut pods = insider.list(resources::core("pods"), Some(namespace));
    pods.retain(|pod| addresses::selects(service, pod));
    let zone = |node: &str| {
        let node = Key::new(resources::core("nodes"), "", node);
        let node = insider.cluster.store.get(&node)?;
        Some(
            node.text("/metadata/labels/topology.kubernetes.io~1zone")
                .to_owned(),
        )
    };
    let kind =
        resources::of_kind("discovery.k8s.io/v1", "EndpointSlice").expect("it is in the table");
    let mine = json!({"matchLabels": {SERVICE_NAME: service.name(), MANAGED_BY: OURS}});
    let mine = LabelSelector::from_object(&mine);
    let mut existing: Vec<Value> = insider
        .list(kind, Some(namespace))
        .iter()
        .map(|slice| Value::clone(slice))
        .collect();
    existing.retain(|slice| mine.matches(slice));
    for group in addresses::groups(service, &pods, zone) {
        let content = json!({"metadata": {"labels": labels(service)},
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
                slice["metadata"]["generateName"] = format!("{}-", service.name()).into();
                slice["metadata"]["ownerReferences"] = json!([reference(service)]);
                insider.create(kind, namespace, &slice).await?;
            }
        }
    }
    for left_over in existing {
        insider.delete(kind, &left_over)?;
    }
    Ok(())
}

fn labels(service: &Value) -> Value {
    let mut labels = service["metadata"]["labels"].clone();
    labels.take_out("/service.kubernetes.io~1headless");
    labels.set(&format!("/{}", MANAGED_BY.replace('/', "~1")), OURS);
    labels.set(
        &format!("/{}", SERVICE_NAME.replace('/', "~1")),
        service.name(),
    );
    if service.text("/spec/clusterIP") == "None" {
        labels.set(&format!("/{}", HEADLESS.replace('/', "~1")), "");
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
