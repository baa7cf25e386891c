//! The garbage collector: what lost all its owners goes; what waits for its dependents is let go
//! when they are gone. <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
    core::PartialObjectMeta,
    discovery::{Discovery, Scope, verbs},
    runtime::{WatchStreamExt as _, watcher},
};
use parking_lot::Mutex;
use serde_json::json;

use super::queue::{self, Place, Queue};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// Others set no owners that matter, and change often.
const UNWATCHED: &[&str] = &["Event", "Lease"];

/// An object as the collector knows it.
#[derive(Debug, Clone)]
struct Item {
    kind: ApiResource,
    meta: ObjectMeta,
}

/// All objects, by their uid.
type Graph = Mutex<HashMap<String, Item>>;

/// Collects until the future is dropped.
pub(super) async fn run(client: Client) {
    let queue = Queue::new();
    let graph: Arc<Graph> = Arc::default();
    let discovery = loop {
        match Discovery::new(client.clone()).run().await {
            Ok(discovery) => break discovery,
            Err(error) => tracing::warn!(%error, "discovery failed"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    for (kind, can) in discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources)
    {
        if can.supports_operation(verbs::WATCH)
            && !UNWATCHED.contains(&kind.kind.as_str())
            && can.scope == Scope::Namespaced
        {
            tokio::spawn(follow(
                client.clone(),
                kind,
                Arc::clone(&graph),
                Arc::clone(&queue),
            ));
        }
    }
    queue::run("garbage", queue, |place| {
        look(client.clone(), Arc::clone(&graph), place.name)
    })
    .await;
}

/// Keeps the graph up to date with the objects of one kind. What is reported are uids.
async fn follow(client: Client, kind: ApiResource, graph: Arc<Graph>, queue: Arc<Queue>) {
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &kind);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut seen = HashSet::new();
    while let Some(event) = events.next().await {
        let (meta, alive) = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                (object.metadata, true)
            }
            Ok(watcher::Event::Delete(object)) => (object.metadata, false),
            // The list starts over: what it no longer has went unnoticed.
            Ok(watcher::Event::Init) => {
                seen = known(&graph, &kind);
                continue;
            }
            Ok(watcher::Event::InitDone) => {
                for uid in seen.drain() {
                    let gone = graph.lock().remove(&uid);
                    report(&queue, &graph, &uid, gone.map(|item| item.meta).as_ref());
                }
                continue;
            }
            Err(error) => {
                tracing::debug!(%error, kind = kind.kind, "watch interrupted");
                continue;
            }
        };
        let uid = meta.uid.clone().unwrap_or_default();
        seen.remove(&uid);
        if alive {
            graph.lock().insert(
                uid.clone(),
                Item {
                    kind: kind.clone(),
                    meta: meta.clone(),
                },
            );
        } else {
            graph.lock().remove(&uid);
        }
        report(&queue, &graph, &uid, Some(&meta));
    }
}

fn known(graph: &Graph, kind: &ApiResource) -> HashSet<String> {
    let graph = graph.lock();
    graph
        .iter()
        .filter(|(_, item)| item.kind == *kind)
        .map(|(uid, _)| uid.clone())
        .collect()
}

/// Has the object looked at, and those that are concerned by its end.
fn report(queue: &Queue, graph: &Graph, uid: &str, meta: Option<&ObjectMeta>) {
    let mut concerned = vec![uid.to_owned()];
    concerned.extend(meta.iter().flat_map(|meta| owners(meta)).map(str::to_owned));
    if !graph.lock().contains_key(uid) {
        concerned.extend(
            dependents(graph, uid)
                .into_iter()
                .filter_map(|item| item.meta.uid),
        );
    }
    for uid in concerned {
        queue.report(Place {
            namespace: String::new(),
            name: uid,
        });
    }
}

fn owners(meta: &ObjectMeta) -> impl Iterator<Item = &str> {
    meta.owner_references
        .iter()
        .flatten()
        .map(|owner| owner.uid.as_str())
}

fn dependents(graph: &Graph, uid: &str) -> Vec<Item> {
    let graph = graph.lock();
    graph
        .values()
        .filter(|item| owners(&item.meta).any(|owner| owner == uid))
        .cloned()
        .collect()
}

async fn look(client: Client, graph: Arc<Graph>, uid: String) -> anyhow::Result<Option<Duration>> {
    let Some(item) = graph.lock().get(&uid).cloned() else {
        return Ok(None);
    };
    let waits_for = item
        .meta
        .finalizers
        .iter()
        .flatten()
        .find(|one| [FOREGROUND, ORPHAN].contains(&one.as_str()));
    if let Some(finalizer) = waits_for.filter(|_| item.meta.deletion_timestamp.is_some()) {
        return let_go(&client, &graph, &item, finalizer).await;
    }
    if item.meta.deletion_timestamp.is_some() || owners(&item.meta).next().is_none() {
        return Ok(None);
    }
    for owner in item.meta.owner_references.iter().flatten() {
        if graph.lock().contains_key(&owner.uid) || exists(&client, &item, owner).await? {
            return Ok(None);
        }
    }
    delete(&client, &item).await?;
    Ok(None)
}

/// Whether the owner is there, asked of the API itself: the graph may not have heard of it yet.
async fn exists(
    client: &Client,
    item: &Item,
    owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference,
) -> anyhow::Result<bool> {
    let (group, version) = owner
        .api_version
        .split_once('/')
        .unwrap_or(("", &owner.api_version));
    let kind = kube::core::GroupVersionKind::gvk(group, version, &owner.kind);
    let (kind, can) = kube::discovery::pinned_kind(client, &kind).await?;
    let namespace = item.meta.namespace.as_deref().unwrap_or_default();
    let api: Api<DynamicObject> = match can.scope {
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &kind),
        Scope::Cluster => Api::all_with(client.clone(), &kind),
    };
    let found = api.get_metadata_opt(&owner.name).await?;
    Ok(found.is_some_and(|found| found.metadata.uid.as_deref() == Some(&owner.uid)))
}

/// Deletes or orphans the dependents of an object that waits for that, then takes its finalizer away.
async fn let_go(
    client: &Client,
    graph: &Graph,
    item: &Item,
    finalizer: &str,
) -> anyhow::Result<Option<Duration>> {
    let uid = item.meta.uid.as_deref().unwrap_or_default();
    let dependents = dependents(graph, uid);
    for dependent in &dependents {
        if finalizer == ORPHAN {
            let mut left = dependent.meta.owner_references.clone().unwrap_or_default();
            left.retain(|owner| owner.uid != uid);
            patch(
                client,
                dependent,
                json!({"metadata": {"ownerReferences": left}}),
            )
            .await?;
        } else if dependent.meta.deletion_timestamp.is_none() {
            delete(client, dependent).await?;
        }
    }
    if finalizer == FOREGROUND && !dependents.is_empty() {
        // Each one's end is reported to its owner.
        return Ok(None);
    }
    let mut left = item.meta.finalizers.clone().unwrap_or_default();
    left.retain(|one| one != finalizer);
    patch(client, item, json!({"metadata": {"finalizers": left}})).await?;
    Ok(None)
}

fn api(client: &Client, item: &Item) -> Api<DynamicObject> {
    Api::namespaced_with(
        client.clone(),
        item.meta.namespace.as_deref().unwrap_or_default(),
        &item.kind,
    )
}

async fn delete(client: &Client, item: &Item) -> anyhow::Result<()> {
    let only_this = Preconditions {
        uid: item.meta.uid.clone(),
        resource_version: None,
    };
    let params = DeleteParams {
        preconditions: Some(only_this),
        ..DeleteParams::background()
    };
    let name = item.meta.name.as_deref().unwrap_or_default();
    gone_is_fine(api(client, item).delete(name, &params).await.map(drop))
}

async fn patch(client: &Client, item: &Item, patch: serde_json::Value) -> anyhow::Result<()> {
    let name = item.meta.name.as_deref().unwrap_or_default();
    gone_is_fine(
        api(client, item)
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map(drop),
    )
}

fn gone_is_fine(result: kube::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        other => Ok(other?),
    }
}
