//! Whether a pod is asked for at all: what the selectors of the webhook's
//! configuration let through, for those who look at a pod without an API server.

use std::collections::BTreeMap;

use crate::{names, pod::Pod};

use super::SkipReason;

const YES: [&str; 2] = ["enabled", "true"];
const NO: [&str; 2] = ["disabled", "false"];

/// Whether the API server sends this pod to the webhook, and if not, why not. The
/// namespace's labels ask for all of its pods, a pod's own for itself.
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
    let by_namespace = namespace_labels.get(names::INJECT).map(String::as_str);
    let by_pod = pod.label(names::INJECT);
    let is = |value: Option<&str>, any: [&str; 2]| value.is_some_and(|value| any.contains(&value));
    if is(by_pod, NO) {
        Err(SkipReason::OptedOutByLabel)
    } else if is(by_namespace, YES) || is(by_pod, YES) {
        Ok(())
    } else {
        Err(SkipReason::NotAskedFor)
    }
}
