//! Deployments: a ReplicaSet for the current template, and those of the templates before it until
//! they are empty. There is no history to go back to.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};

use super::{
    controls, reference,
    rollout::{self, Replicas},
};
use crate::api::{
    insider::Insider,
    object::{Object as _, now},
    resources::{self, Resource},
    status::Status,
    store::Key,
};

const HASH: &str = "pod-template-hash";

/// Takes the next step of the Deployment's rollout, and tells how far it is.
pub(super) async fn look(insider: &Insider, deployment: &Value) -> Result<(), Status> {
    let mut old = insider.list(sets(), Some(deployment.namespace()));
    old.retain(|set| controls(deployment, set));
    let hash = hash(&deployment["spec"]["template"]);
    let name = format!("{}-{hash}", deployment.name());
    let current = old.iter().position(|set| set.name() == name);
    let current = current.map(|index| old.remove(index));
    let replicas: Vec<Replicas> = old.iter().map(|set| Replicas::of(set)).collect();
    let new = current
        .as_ref()
        .map(|set| Replicas::of(set))
        .unwrap_or_default();
    let plan = rollout::plan(&deployment["spec"], new, &replicas);
    match &current {
        None => create(insider, deployment, &name, &hash, plan.new).await?,
        Some(set) => scale(insider, set, plan.new).await?,
    }
    for (set, wanted) in old.iter().zip(plan.old) {
        if wanted == 0 && Replicas::of(set) == Replicas::default() {
            insider.delete(sets(), set)?;
        } else {
            scale(insider, set, wanted).await?;
        }
    }
    report(insider, deployment, new, &replicas).await
}

fn sets() -> &'static Resource {
    resources::find("apps", "v1", "replicasets").expect("it is in the table")
}

/// Ten characters that differ if templates do.
fn hash(template: &Value) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    let mut rest = hasher.finish();
    let letters = std::iter::repeat_with(|| {
        let letter = ALPHABET[usize::try_from(rest % 27).unwrap_or(0)];
        rest /= 27;
        char::from(letter)
    });
    letters.take(10).collect()
}

async fn create(
    insider: &Insider,
    deployment: &Value,
    name: &str,
    hash: &str,
    replicas: i64,
) -> Result<(), Status> {
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][HASH] = hash.into();
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = hash.into();
    let set = json!({
        "metadata": {"name": name, "labels": template["metadata"]["labels"], "ownerReferences": [reference(deployment)]},
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    insider
        .create(sets(), deployment.namespace(), &set)
        .await
        .map(drop)
}

async fn scale(insider: &Insider, set: &Value, replicas: i64) -> Result<(), Status> {
    if set.integer("/spec/replicas") == Some(replicas) {
        return Ok(());
    }
    let patch = json!({"spec": {"replicas": replicas}});
    insider.patch(&Key::of(sets(), set), "", &patch).await
}

/// Writes the counts that `kubectl rollout status` waits for, and the condition `Available`.
async fn report(
    insider: &Insider,
    deployment: &Value,
    new: Replicas,
    old: &[Replicas],
) -> Result<(), Status> {
    let total = |count: fn(&Replicas) -> i64| count(&new) + old.iter().map(count).sum::<i64>();
    let available = total(|set| set.available);
    let (desired, bounds) = (
        rollout::desired(&deployment["spec"]),
        rollout::bounds(&deployment["spec"]),
    );
    let holds = if available >= desired - bounds.unavailable {
        "True"
    } else {
        "False"
    };
    let before = deployment.items("/status/conditions").iter();
    let mut before = before.filter(|one| one["type"] == "Available" && one["status"] == holds);
    let since = before
        .next()
        .map_or_else(|| now().into(), |one| one["lastTransitionTime"].clone());
    let condition = json!({"type": "Available", "status": holds, "lastTransitionTime": since, "lastUpdateTime": since});
    let status = json!({"status": {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": total(|set| set.actual), "updatedReplicas": new.actual,
        "readyReplicas": available, "availableReplicas": available, "conditions": [condition],
    }});
    let deployments = resources::find("apps", "v1", "deployments").expect("it is in the table");
    insider
        .patch(&Key::of(deployments, deployment), "status", &status)
        .await
}
