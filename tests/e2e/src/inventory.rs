//! Every object that a cluster has, to compare before and after.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    discovery::{Discovery, verbs},
};
use serde_json::Value;

use crate::Cluster;

/// Kinds that come and go by themselves, or change with what they measure.
const FLEETING: [&str; 5] = [
    "ComponentStatus",
    "Event",
    "Lease",
    "NodeMetrics",
    "PodMetrics",
];

/// All objects of all kinds, by kind and name, without what changes on its own: versions,
/// and of a Node everything, for it keeps saying that it is alive. In a cluster that
/// others use as well, also without `status` and who has set which field, which
/// controllers keep writing.
///
/// # Errors
/// If a kind can't be listed.
pub async fn of(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut all = exact(&cluster.client()).await?;
    if cluster.enter().is_none() {
        for value in all.values_mut() {
            let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
            if let Some(metadata) = metadata {
                metadata.remove("managedFields");
            }
            if let Some(object) = value.as_object_mut() {
                object.remove("status");
            }
        }
    }
    Ok(all)
}

async fn exact(client: &Client) -> anyhow::Result<BTreeMap<String, Value>> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut all = BTreeMap::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let listed = capabilities.supports_operation(verbs::LIST);
            if !listed || FLEETING.contains(&resource.kind.as_str()) {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            for object in api.list(&ListParams::default()).await? {
                let namespace = object.metadata.namespace.clone().unwrap_or_default();
                let name = object.metadata.name.clone().unwrap_or_default();
                let title = format!("{} {namespace}/{name}", resource.kind);
                let mut value = serde_json::to_value(object)?;
                if let Some(metadata) = value["metadata"].as_object_mut() {
                    metadata.remove("resourceVersion");
                }
                if resource.kind == "Node" {
                    value = Value::Null;
                }
                all.insert(title, value);
            }
        }
    }
    Ok(all)
}
