//! The manifests of `k8s/`, which this binary has in it: what `render` prints and
//! `install` applies is what `kubectl apply -k` would, and flags change it afterwards.
//!
//! In reading order: `source`, the files; `kustomize`, how overlays are put over the
//! base; [`Settings`], the flags; `flags`, those of its programs; `customise`, what they change.

use serde_json::Value;

use crate::{cluster::Version, exit::Usage};

mod customise;
mod flags;
mod kustomize;
mod settings;
mod source;
#[cfg(test)]
mod tests;

pub use settings::{IMAGE, Settings};

/// The first version that has `matchConditions` of webhooks without being asked.
const MATCH_CONDITIONS: (u32, u32) = (1, 28);

/// In this order each object finds what it refers to, and no pod is sent to a webhook
/// that is not there yet.
const ORDER: [&str; 12] = [
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
    "MutatingWebhookConfiguration",
];

/// All of Netting's objects, in the order in which they are to be applied.
///
/// `kubernetes` is the version of the API server that they are for; if it isn't known,
/// they are for a recent one.
///
/// # Errors
/// If a setting is wrong.
pub fn render(
    settings: &Settings,
    namespace: &str,
    kubernetes: Option<&Version>,
) -> Result<Vec<Value>, Usage> {
    let changes = settings.changes(namespace)?;
    let mut overlays = Vec::new();
    if settings.ha == Some(true) {
        overlays.push("overlays/ha");
    }
    let (major, minor) = MATCH_CONDITIONS;
    if kubernetes.is_some_and(|version| version.is_before(major, minor)) {
        overlays.push("overlays/before-1.28");
    }
    let mut objects = kustomize::build(source::FILES, &overlays)
        .expect("the tests build every overlay of the files within");
    customise::apply(&changes, &mut objects);
    let rank = |object: &Value| {
        let kind = object["kind"].as_str();
        ORDER.iter().position(|known| Some(*known) == kind)
    };
    objects.sort_by_key(|object| rank(object).unwrap_or(ORDER.len()));
    Ok(objects)
}

/// The annotation of the namespace with the [`Settings`] that Netting was installed
/// with, as JSON, so that an upgrade keeps them.
pub const SETTINGS: &str = "netting.dev/settings";

/// Has the namespace remember the settings.
pub fn record(settings: &Settings, objects: &mut [Value]) {
    if *settings == Settings::default() {
        return;
    }
    let text = serde_json::to_string(settings).expect("settings are plain data");
    for object in objects {
        if object["kind"] == "Namespace" {
            object["metadata"]["annotations"][SETTINGS] = text.as_str().into();
        }
    }
}

/// `Deployment netting/netting-webhook`.
#[must_use]
pub fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, metadata) = (text(&object["kind"]), &object["metadata"]);
    let name = text(&metadata["name"]);
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
