//! Whether a pod is asked for at all: what the selectors of the webhook's
//! configuration let through, for those who look at a pod without an API server.

use std::collections::BTreeMap;

use crate::{names, pod::Pod};

use super::SkipReason;

/// What `netting.dev/inject` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// For a sidecar.
    Yes,
    /// To be left alone.
    No,
    /// A mistake, which says nothing.
    Unclear,
}

impl Asks {
    /// By the value of the label, or of the annotation.
    #[must_use]
    pub fn of(value: &str) -> Self {
        match value {
            "enabled" | "true" => Self::Yes,
            "disabled" | "false" => Self::No,
            _ => Self::Unclear,
        }
    }
}

/// Whether the API server sends this pod to the webhook to have it injected, and if not,
/// why not. The namespace's labels ask for all of its pods, a pod's own for itself.
///
/// # Errors
/// The reason: [`SkipReason::NotAskedFor`], or one that goes before it.
pub fn asked_for(
    pod: &Pod<'_>,
    namespace: &str,
    namespace_labels: &BTreeMap<String, String>,
    system_namespace: &str,
) -> Result<(), SkipReason> {
    if namespace == names::KUBE_SYSTEM || namespace == system_namespace {
        return Err(SkipReason::SystemNamespace);
    }
    if pod.annotation(names::MIRROR_POD).is_some() {
        return Err(SkipReason::MirrorPod);
    }
    let by_namespace = namespace_labels
        .get(names::INJECT)
        .map(|value| Asks::of(value));
    match pod.label(names::INJECT).map(Asks::of) {
        Some(Asks::No) => Err(SkipReason::OptedOutByLabel),
        Some(Asks::Yes) => Ok(()),
        Some(Asks::Unclear) | None if by_namespace == Some(Asks::Yes) => Ok(()),
        Some(Asks::Unclear) | None => Err(SkipReason::NotAskedFor),
    }
}
