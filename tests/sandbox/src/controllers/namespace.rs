//! Namespaces that are deleted: empties them, then lets them go.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams},
    discovery::{Discovery, Scope, verbs},
    runtime::watcher,
};

use super::queue::{self, Place};

/// How soon to look again at a namespace in which something else than a pod lingers.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Empties namespaces until the future is dropped.
pub(super) async fn run(client: Client) {
    let queue = queue::Queue::new();
    let config = watcher::Config::default;
    queue::watch(
        Api::all(client.clone()),
        config(),
        &queue,
        |one: &Namespace| vec![Place::of(one)],
    )
    .await;
    // Pods take their time; the last one's end is the namespace's.
    queue::watch(Api::all(client.clone()), config(), &queue, |pod: &Pod| {
        let going = pod.metadata.deletion_timestamp.is_some();
        let name = pod.metadata.namespace.clone().filter(|_| going);
        name.map(|name| Place {
            namespace: String::new(),
            name,
        })
        .into_iter()
        .collect()
    })
    .await;
    queue::run("namespace", queue, |place| look(client.clone(), place)).await;
}

async fn look(client: Client, place: Place) -> anyhow::Result<Option<Duration>> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let Some(mut namespace) = namespaces.get_opt(&place.name).await? else {
        return Ok(None);
    };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(None);
    }
    let mut left = 0;
    for kind in kinds(&client).await? {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &place.name, &kind);
        let found = api.list(&ListParams::default()).await?.items.len();
        if found > 0 {
            api.delete_collection(&DeleteParams::default(), &ListParams::default())
                .await?;
            left += api.list(&ListParams::default()).await?.items.len();
        }
    }
    if left > 0 {
        return Ok(Some(LOOK_AGAIN));
    }
    if let Some(spec) = &mut namespace.spec {
        spec.finalizers = Some(Vec::new());
    }
    namespaces
        .replace_subresource("finalize", &place.name, &PostParams::default(), &namespace)
        .await?;
    Ok(None)
}

/// Everything that can be in a namespace, by discovery.
async fn kinds(client: &Client) -> anyhow::Result<Vec<ApiResource>> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let kinds = discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources);
    let kinds = kinds.filter(|(_, can)| {
        can.scope == Scope::Namespaced && can.supports_operation(verbs::DELETE_COLLECTION)
    });
    Ok(kinds.map(|(kind, _)| kind).collect())
}
