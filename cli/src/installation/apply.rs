//! Server-side apply of one object.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use anyhow::Context as _;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{
    cluster::{Asked as _, Cluster},
    manifests,
    output::Tone,
};

use super::{Installation, kinds::Kind, progress::Progress};

/// Under this name the API server notes which fields are Netting's own.
pub(super) const FIELD_MANAGER: &str = "netting";
/// Which of its ReplicaSets a Deployment is at: its controller counts them.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#deployment-kubernetes-io-revision>
const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";

/// How objects are applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Changes nothing; says what would change.
    pub dry_run: bool,
    /// Takes fields over that somebody else has set.
    pub force: bool,
}

/// Applies all of them in their order, and says what came of each.
///
/// # Errors
/// If one is refused. Those before it stay, and doing all again goes on from there.
pub async fn all(
    cluster: &Cluster,
    objects: &[Value],
    before: &Installation,
    how: How,
) -> anyhow::Result<()> {
    let progress = Progress::new();
    for object in objects {
        let title = manifests::title(object);
        let old = before.object(&title);
        // In a namespace that is not there nothing can be tried.
        if how.dry_run && old.is_none() {
            progress.say(Tone::Good, "create", &title);
            continue;
        }
        let applied = one(cluster, object, how).await.with_context(|| {
            format!("could not apply {title}; the same command goes on from there")
        })?;
        let applied = serde_json::to_value(applied).expect("an object is JSON");
        let (tone, done) = match old {
            None => (Tone::Good, "created"),
            Some(old) if content(old) == content(&applied) => (Tone::Faint, "unchanged"),
            Some(_) if how.dry_run => (Tone::Warning, "change"),
            Some(_) => (Tone::Warning, "changed"),
        };
        progress.say(tone, done, &title);
    }
    Ok(())
}

/// Applies one of them.
///
/// # Errors
/// If it is refused, or a field is somebody else's.
pub(super) async fn one(
    cluster: &Cluster,
    object: &Value,
    how: How,
) -> anyhow::Result<DynamicObject> {
    let kind = Kind::find(object).context("it is of no kind that Netting consists of")?;
    let name = object["metadata"]["name"].as_str();
    let name = name.context("it has no name")?;
    let params = PatchParams {
        dry_run: how.dry_run,
        force: how.force,
        ..PatchParams::apply(FIELD_MANAGER)
    };
    let answer = kind
        .api(cluster, object)
        .patch(name, &params, &Patch::Apply(object))
        .await;
    match answer {
        Err(kube::Error::Api(status)) if status.code == 409 => anyhow::bail!(
            "{}; --force-conflicts takes these fields over",
            status.message
        ),
        other => other.asked("apply it"),
    }
}

/// What an object says, without what controllers and the API server note about it, which
/// moves while nobody changes anything: resourceVersion moves with the status.
pub(super) fn content(object: &Value) -> Value {
    let mut object = object.clone();
    for (of, notes) in [
        ("/metadata/annotations", &[DEPLOYMENT_REVISION][..]),
        (
            "/metadata",
            &["managedFields", "resourceVersion", "generation"],
        ),
        ("", &["apiVersion", "kind", "status"]),
    ] {
        if let Some(fields) = object.pointer_mut(of).and_then(Value::as_object_mut) {
            // A map in which nothing is left is as none.
            fields.retain(|field, value| !notes.contains(&field.as_str()) && *value != json!({}));
        }
    }
    object
}
