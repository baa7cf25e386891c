//! Server-side apply of one object.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use anyhow::Context as _;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::Value;

use crate::{
    cluster::{Asked as _, Cluster},
    manifests,
    output::Tone,
};

use super::{Installation, kinds::Kind, progress::Progress};

/// Under this name the API server notes which fields are Netting's own.
pub(super) const FIELD_MANAGER: &str = "netting";

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
        let old = before.revision(&title);
        // In a namespace that is not there nothing can be tried.
        if how.dry_run && old.is_none() {
            progress.say(Tone::Good, "create", &title);
            continue;
        }
        let applied = one(cluster, object, how).await.with_context(|| {
            format!("could not apply {title}; the same command goes on from there")
        })?;
        let new = applied.metadata.resource_version.as_deref();
        let (tone, done) = match old {
            None => (Tone::Good, "created"),
            // A dry run doesn't tell: the version is that of what is there.
            Some(_) if how.dry_run && is_as_before(before, &title, &applied) => {
                (Tone::Faint, "unchanged")
            }
            Some(_) if how.dry_run => (Tone::Warning, "change"),
            old if old == new => (Tone::Faint, "unchanged"),
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

fn is_as_before(before: &Installation, title: &str, applied: &DynamicObject) -> bool {
    let content = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| {
                !["managedFields", "resourceVersion", "generation"].contains(&field.as_str())
            });
        }
        if let Some(object) = object.as_object_mut() {
            object.retain(|field, _| !["apiVersion", "kind"].contains(&field.as_str()));
        }
        object
    };
    let applied = serde_json::to_value(applied).expect("an object is JSON");
    let mut objects = before.objects().iter();
    let old = objects.find(|object| manifests::title(object) == title);
    old.is_some_and(|old| content(old) == content(&applied))
}
