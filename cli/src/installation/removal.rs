//! Until nothing is left.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use netting_webhook::names;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cluster::{Asked as _, Cluster},
    manifests,
    output::Tone,
};

use super::{Installation, PART_OF, kinds::Kind, progress::Progress, selector};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl Installation {
    /// What is to go, in the order in which it goes. The namespace stays if it was not
    /// made by Netting, and what is cluster-wide if it is another installation's.
    #[must_use]
    pub fn to_remove(&self) -> Vec<&Value> {
        let here = |object: &Value| {
            let place = self.place(object);
            place.is_none_or(|namespace| namespace == self.namespace)
        };
        let ours = |object: &Value| object["metadata"]["labels"][PART_OF.0] == PART_OF.1;
        let all = self.objects.iter();
        all.filter(|object| here(object) && ours(object)).collect()
    }
}

/// Removes each, and waits until it is gone before what it needs to go is removed:
/// pods that still run would make their Secret again.
///
/// # Errors
/// If one can't be removed, or isn't gone within `patience`. What is removed stays
/// removed, and doing it again goes on from there.
pub async fn all(cluster: &Cluster, objects: &[&Value], patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    let progress = Progress::new();
    let mut pods_gone = false;
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default();
        if !pods_gone && !["MutatingWebhookConfiguration", "Deployment"].contains(&kind) {
            until_pods_are_gone(cluster, deadline).await?;
            pods_gone = true;
        }
        remove(cluster, object, deadline, progress).await?;
    }
    Ok(())
}

/// Removes what an upgrade has left over, and waits until it is gone.
///
/// # Errors
/// If one can't be removed, or isn't gone within `patience`.
pub async fn left_over(
    cluster: &Cluster,
    objects: &[&Value],
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    for object in objects {
        remove(cluster, object, deadline, Progress::new()).await?;
    }
    Ok(())
}

async fn remove(
    cluster: &Cluster,
    object: &Value,
    deadline: Instant,
    progress: Progress,
) -> anyhow::Result<()> {
    let title = manifests::title(object);
    until_gone(cluster, object, deadline)
        .await
        .with_context(|| {
            format!("could not remove {title}; the same command goes on from there")
        })?;
    progress.say(Tone::Good, "removed", &title);
    Ok(())
}

/// Deletes an object, and waits until it is no longer there.
async fn until_gone(cluster: &Cluster, object: &Value, deadline: Instant) -> anyhow::Result<()> {
    let kind = Kind::find(object).context("it is of no kind that Netting consists of")?;
    let name = object["metadata"]["name"].as_str();
    let name = name.context("it has no name")?;
    let api = kind.api(cluster, object);
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(error).asked("delete it"),
    }
    loop {
        let left = api.get_opt(name).await.asked("see whether it is gone")?;
        // One of that name may have been made anew, which is none of ours.
        let uid = object["metadata"]["uid"].as_str();
        let Some(left) = left.filter(|left| left.uid().as_deref() == uid) else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            bail!(
                "it is on its way, but not gone yet: {}",
                held_by(&kind.value(&left))
            );
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn until_pods_are_gone(cluster: &Cluster, deadline: Instant) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &cluster.system_namespace);
    let ours = ListParams::default().labels(&selector());
    loop {
        let left = pods.list(&ours).await.asked("list Pods")?;
        if left.items.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let names: Vec<String> = left.iter().map(|pod| pod.name_any()).collect();
            bail!(
                "these pods do not end: {}; see kubectl describe, then run the same command again",
                names.join(", ")
            );
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// What keeps an object from going, as far as it says: finalizers, and a namespace's
/// conditions.
#[must_use]
pub fn held_by(object: &Value) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let conditions = conditions.into_iter().flatten();
    let said = conditions
        .filter(|one| one["status"] == "True")
        .filter_map(|one| one["message"].as_str());
    let mut said: Vec<String> = said.map(ToOwned::to_owned).collect();
    let finalizers = object["metadata"]["finalizers"].as_array();
    let finalizers = finalizers.into_iter().flatten().filter_map(Value::as_str);
    let finalizers: Vec<&str> = finalizers.collect();
    if !finalizers.is_empty() {
        said.push(format!("it has the finalizers {}", finalizers.join(", ")));
    }
    if said.is_empty() {
        return "nothing is said about why".to_owned();
    }
    said.join("; ")
}

/// Pods that have a sidecar, by their namespace: they keep it until they are restarted.
///
/// # Errors
/// If they can't be listed.
pub async fn meshed_pods(cluster: &Cluster) -> anyhow::Result<BTreeMap<String, usize>> {
    let pods: Api<Pod> = Api::all(cluster.client());
    let meshed = ListParams::default().labels(&format!("{}=true", names::INJECTED));
    let pods = pods.list_metadata(&meshed).await.asked("list Pods")?;
    let mut counts = BTreeMap::new();
    for pod in &pods {
        *counts
            .entry(pod.namespace().unwrap_or_default())
            .or_insert(0) += 1;
    }
    Ok(counts)
}

/// Takes back the note of the settings from a namespace that stays.
///
/// # Errors
/// If the API server refuses it.
pub async fn forget(cluster: &Cluster) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let nothing = json!({"metadata": {"annotations": {manifests::SETTINGS: null}}});
    let patched = namespaces
        .patch(
            &cluster.system_namespace,
            &PatchParams::default(),
            &Patch::Merge(nothing),
        )
        .await;
    let forgotten = patched.asked("take the note of the settings from the namespace");
    forgotten.context("the same command goes on from there")?;
    Ok(())
}
