//! The scheduler: gives each new pod a node that is ready and takes it.

use std::{collections::HashMap, time::Duration};

use k8s_openapi::{
    api::core::v1::{Node, Pod, Toleration},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};

use super::queue::{self, Place};

/// Binds pods until the future is dropped.
pub(super) async fn run(client: Client) {
    let queue = queue::Queue::new();
    let unbound = watcher::Config::default().fields("spec.nodeName=");
    let pods = queue::watch(Api::all(client.clone()), unbound, &queue, |one: &Pod| {
        vec![Place::of(one)]
    })
    .await;
    // Whatever waits for a node is looked at again when one changes.
    queue::watch(
        Api::all(client.clone()),
        watcher::Config::default(),
        &queue,
        move |_: &Node| pods.state().iter().map(|pod| Place::of(&**pod)).collect(),
    )
    .await;
    queue::run("scheduler", queue, |place| look(client.clone(), place)).await;
}

async fn look(client: Client, place: Place) -> anyhow::Result<Option<Duration>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &place.namespace);
    let Some(pod) = pods.get_opt(&place.name).await? else {
        return Ok(None);
    };
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.is_none()) else {
        return Ok(None);
    };
    if pod.metadata.deletion_timestamp.is_some()
        || spec.scheduler_name.as_deref() != Some("default-scheduler")
    {
        return Ok(None);
    }
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?
        .items;
    let mut load: HashMap<String, usize> = HashMap::new();
    for other in Api::<Pod>::all(client).list(&ListParams::default()).await? {
        if let Some(node) = other.spec.and_then(|spec| spec.node_name) {
            *load.entry(node).or_default() += 1;
        }
    }
    let fitting = nodes.iter().filter(|node| fits(node, &pod));
    let chosen = fitting.min_by_key(|node| load.get(&node.name_any()).copied().unwrap_or(0));
    if let Some(node) = chosen {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": place.name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node.name_any()}});
        pods.create_subresource::<_, Value>(
            "binding",
            &place.name,
            &PostParams::default(),
            &binding,
        )
        .await?;
        return Ok(None);
    }
    let already = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    if already
        .clone()
        .all(|condition| condition.type_ != "PodScheduled")
    {
        let message = format!(
            "0/{} nodes are available: none is ready and fits.",
            nodes.len()
        );
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": now});
        let patch = json!({"status": {"conditions": [condition]}});
        pods.patch_status(
            &place.name,
            &PatchParams::default(),
            &Patch::Strategic(&patch),
        )
        .await?;
    }
    Ok(None)
}

/// Whether the node is ready, open, and neither repels the pod nor is passed over by it.
fn fits(node: &Node, pod: &Pod) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|one| one.type_ == "Ready" && one.status == "True");
    let spec = node.spec.clone().unwrap_or_default();
    let pod_spec = pod.spec.clone().unwrap_or_default();
    let wanted = pod_spec.node_selector.unwrap_or_default();
    let labelled = wanted
        .iter()
        .all(|(key, value)| node.labels().get(key) == Some(value));
    let tolerations = pod_spec.tolerations.unwrap_or_default();
    let tolerated = spec.taints.unwrap_or_default().iter().all(|taint| {
        taint.effect == "PreferNoSchedule"
            || tolerations
                .iter()
                .any(|one| tolerates(one, &taint.key, &taint.effect))
    });
    ready && spec.unschedulable != Some(true) && labelled && tolerated
}

fn tolerates(toleration: &Toleration, key: &str, effect: &str) -> bool {
    let of_key = toleration
        .key
        .as_deref()
        .is_none_or(|one| one.is_empty() || one == key);
    let of_effect = toleration
        .effect
        .as_deref()
        .is_none_or(|one| one.is_empty() || one == effect);
    of_key && of_effect
}
