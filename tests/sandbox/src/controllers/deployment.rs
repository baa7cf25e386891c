//! Deployments: one ReplicaSet for each template they had.

mod progress;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::PodTemplateSpec,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::json;

use super::{
    MANAGER, owned,
    queue::{self, Place},
    rollout::{self, Replicas},
};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Keeps all Deployments up to date.
pub(super) async fn run(client: Client) {
    let queue = queue::Queue::new();
    let config = watcher::Config::default;
    queue::watch(
        Api::all(client.clone()),
        config(),
        &queue,
        |one: &Deployment| vec![Place::of(one)],
    )
    .await;
    queue::watch(
        Api::all(client.clone()),
        config(),
        &queue,
        |set: &ReplicaSet| owned::controller(set, "Deployment"),
    )
    .await;
    queue::run("deployment", queue, |place| {
        Box::pin(look(client.clone(), place))
    })
    .await;
}

async fn look(client: Client, place: Place) -> anyhow::Result<Option<Duration>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &place.namespace);
    let sets: Api<ReplicaSet> = Api::namespaced(client, &place.namespace);
    let Some(deployment) = deployments.get_opt(&place.name).await? else {
        return Ok(None);
    };
    let Some(spec) = deployment
        .spec
        .clone()
        .filter(|_| deployment.metadata.deletion_timestamp.is_none())
    else {
        return Ok(None);
    };
    let mut owned = sets.list(&owned::selected(&spec.selector)?).await?.items;
    owned.retain(|set| owned::controls(&deployment, set));
    owned.sort_by_key(revision);
    let latest = owned.last().map_or(0, revision);
    let current = owned
        .iter()
        .position(|set| template(set).is_some_and(|one| same(one, &spec.template)));
    let new = current.map(|index| owned.remove(index));
    if spec.paused == Some(true) {
        return report(&deployments, &deployment, new.as_ref(), &owned).await;
    }
    let replicas: Vec<Replicas> = owned.iter().map(Replicas::of).collect();
    let plan = rollout::plan(
        &deployment,
        new.as_ref().map(Replicas::of).unwrap_or_default(),
        &replicas,
    );
    let next_revision = if new.as_ref().is_some_and(|new| revision(new) == latest) {
        latest
    } else {
        latest + 1
    };
    let new = match new {
        Some(new) => update(&sets, &deployment, new, plan.new, next_revision).await?,
        None => create(&sets, &deployment, &spec.template, plan.new).await?,
    };
    for (set, wanted) in owned.iter_mut().zip(&plan.old) {
        if Replicas::of(set).wanted != *wanted {
            *set = scale(&sets, set, *wanted).await?;
        }
    }
    if deployment.annotations().get(REVISION) != Some(&revision(&new).to_string()) {
        let patch = json!({"metadata": {"annotations": {REVISION: revision(&new).to_string()}}});
        deployments
            .patch(&place.name, &params(), &Patch::Merge(&patch))
            .await?;
    }
    let kept = usize::try_from(spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    for old in owned.iter().take(owned.len().saturating_sub(kept)) {
        if Replicas::of(old) == Replicas::default() {
            sets.delete(&old.name_any(), &DeleteParams::default())
                .await?;
        }
    }
    report(&deployments, &deployment, Some(&new), &owned).await
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

fn revision(set: &ReplicaSet) -> i64 {
    set.annotations()
        .get(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn template(set: &ReplicaSet) -> Option<&PodTemplateSpec> {
    set.spec.as_ref()?.template.as_ref()
}

/// Whether a ReplicaSet's template is the Deployment's, but for the label that tells sets apart.
fn same(set: &PodTemplateSpec, deployment: &PodTemplateSpec) -> bool {
    let mut set = set.clone();
    if let Some(labels) = set
        .metadata
        .as_mut()
        .and_then(|metadata| metadata.labels.as_mut())
    {
        labels.remove(HASH);
    }
    set == *deployment
}

/// Ten characters that differ if templates do.
fn hash(template: &PodTemplateSpec) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = DefaultHasher::new();
    json!(template).to_string().hash(&mut hasher);
    let mut rest = hasher.finish();
    let letters = std::iter::repeat_with(|| {
        let letter = ALPHABET[usize::try_from(rest % 27).unwrap_or(0)];
        rest /= 27;
        char::from(letter)
    });
    letters.take(10).collect()
}

async fn create(
    sets: &Api<ReplicaSet>,
    deployment: &Deployment,
    template: &PodTemplateSpec,
    replicas: i32,
) -> anyhow::Result<ReplicaSet> {
    let existing = sets
        .list(&owned::selected(
            &deployment.spec.clone().unwrap_or_default().selector,
        )?)
        .await?;
    let latest = existing
        .iter()
        .filter(|set| owned::controls(deployment, *set))
        .map(revision)
        .max();
    let hash = hash(template);
    let mut template = json!(template);
    template["metadata"]["labels"][HASH] = hash.as_str().into();
    let mut selector = json!(deployment.spec.as_ref().map(|spec| &spec.selector));
    selector["matchLabels"][HASH] = hash.as_str().into();
    let annotations = json!({
        "deployment.kubernetes.io/desired-replicas": rollout::desired(deployment).to_string(),
        "deployment.kubernetes.io/max-replicas": (rollout::desired(deployment) + rollout::bounds(deployment).0).to_string(),
        REVISION: (latest.unwrap_or(0) + 1).to_string(),
    });
    let set = json!({
        "metadata": {"name": format!("{}-{hash}", deployment.name_any()), "annotations": annotations,
            "labels": template["metadata"]["labels"], "ownerReferences": [owned::reference(deployment)]},
        "spec": {"replicas": replicas, "selector": selector, "template": template,
            "minReadySeconds": deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds)},
    });
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    Ok(sets.create(&params, &serde_json::from_value(set)?).await?)
}

async fn update(
    sets: &Api<ReplicaSet>,
    deployment: &Deployment,
    set: ReplicaSet,
    replicas: i32,
    revision: i64,
) -> anyhow::Result<ReplicaSet> {
    let mut set = set;
    if self::revision(&set) != revision {
        // An old template came back: it is the newest revision now.
        let patch = json!({"metadata": {"annotations": {REVISION: revision.to_string()}}});
        set = sets
            .patch(&set.name_any(), &params(), &Patch::Merge(&patch))
            .await?;
    }
    if Replicas::of(&set).wanted != replicas {
        let desired = json!({"metadata": {"annotations": {"deployment.kubernetes.io/desired-replicas": rollout::desired(deployment).to_string()}}});
        sets.patch(&set.name_any(), &params(), &Patch::Merge(&desired))
            .await?;
        set = scale(sets, &set, replicas).await?;
    }
    Ok(set)
}

async fn scale(
    sets: &Api<ReplicaSet>,
    set: &ReplicaSet,
    replicas: i32,
) -> kube::Result<ReplicaSet> {
    let patch = json!({"spec": {"replicas": replicas}});
    sets.patch(&set.name_any(), &params(), &Patch::Merge(&patch))
        .await
}

/// Writes the status, if it changed.
async fn report(
    deployments: &Api<Deployment>,
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    old: &[ReplicaSet],
) -> anyhow::Result<Option<Duration>> {
    if let Some(patch) = progress::patch(deployment, new, old) {
        let name = deployment.name_any();
        deployments
            .patch_status(&name, &params(), &Patch::Merge(&patch))
            .await?;
    }
    Ok(None)
}
