//! What a cluster has.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{Discovery, pinned_kind, verbs},
};
use serde_json::Value;

/// All objects of all kinds, by kind and name, but for their versions.
pub(crate) async fn everything(client: &Client) -> BTreeMap<String, Value> {
    let discovery = Discovery::new(client.clone()).run().await;
    let discovery = discovery.expect("the API server says what it has");
    let mut all = BTreeMap::new();
    let kinds = discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources);
    for (resource, capabilities) in kinds {
        if !capabilities.supports_operation(verbs::LIST) {
            continue;
        }
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let listed = api.list(&ListParams::default()).await;
        for object in listed.expect("everything can be listed") {
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let name = object.metadata.name.clone().unwrap_or_default();
            let title = format!("{} {namespace}/{name}", resource.kind);
            let mut value = serde_json::to_value(object).expect("an object is JSON");
            if let Some(metadata) = value["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
            }
            all.insert(title, value);
        }
    }
    all
}

/// Applies YAML as `kubectl apply --server-side --force-conflicts` does.
pub(crate) async fn apply(client: &Client, yaml: &str) {
    let objects: Vec<DynamicObject> =
        serde_saphyr::from_multiple(yaml).expect("it is YAML of objects");
    for object in objects {
        let types = object.types.as_ref().expect("it says its kind");
        let kind = GroupVersionKind::try_from(types).expect("it says its kind");
        let (resource, _) = pinned_kind(client, &kind).await.expect("it is a kind");
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let name = object.metadata.name.as_deref().expect("it has a name");
        let params = PatchParams::apply("kubectl").force();
        let applied = api.patch(name, &params, &Patch::Apply(&object)).await;
        applied.expect("it can be applied");
    }
}
