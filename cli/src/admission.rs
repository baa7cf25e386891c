//! What the webhook would say of a pod that is there already: the same function that
//! decides when a pod is created, asked again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LimitRange, Namespace, Pod};
use kube::ResourceExt as _;
use netting_webhook::{
    Asks, Decision, Options, SkipReason, asked_for, decide,
    names::{self, INJECT},
    namespaces::bounds,
    pod::Pod as View,
};
use serde_json::Value;

mod options;
#[cfg(test)]
mod tests;

pub use options::options_of;

/// How a pod and Netting stand to each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It has a sidecar.
    Injected(Sidecar),
    /// It has none, and asks for one: it was not asked about when it was created.
    Missing,
    /// It has none, and why it would get none now.
    Skipped(SkipReason),
}

/// A sidecar, as its pod says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sidecar {
    /// The version of Netting that added it; empty if the pod doesn't say.
    pub version: String,
    /// `native` or `classic`; empty if the pod doesn't say.
    pub mode: String,
    /// Its image.
    pub image: String,
}

/// Who asks for a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// The label of the pod's namespace.
    Namespace,
    /// The pod's own label.
    Pod,
    /// Nobody.
    Nobody,
}

/// All that the webhook would say of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// How the two stand.
    pub standing: Standing,
    /// Who asks.
    pub asked_by: AskedBy,
    /// What the pod's author is told, as it was when the pod was created.
    pub warnings: Vec<String>,
}

/// Judges a pod of this namespace by these options of the webhook. LimitRanges of other
/// namespaces are none of it.
#[must_use]
pub fn judge(
    pod: &Pod,
    namespace: &Namespace,
    limit_ranges: &[LimitRange],
    options: &Options,
) -> Judgement {
    let pod = raw(pod);
    let name = namespace.name_any();
    let annotations = namespace.metadata.annotations.clone().unwrap_or_default();
    let labels = namespace.metadata.labels.clone().unwrap_or_default();
    let asked_by = asked_by(&pod, &labels);
    let of_it = |range: &&LimitRange| range.metadata.namespace.as_ref() == Some(&name);
    let bounds = bounds(limit_ranges.iter().filter(of_it));
    let place = netting_webhook::Namespace {
        name: &name,
        annotations: &annotations,
        pod_security: labels.get(names::POD_SECURITY).map(String::as_str),
        bounds: Some(&bounds),
        ..netting_webhook::Namespace::named(&name)
    };
    if let Some(sidecar) = sidecar_of(&pod) {
        // As it was before it had one, or the only thing to say would be that.
        let before = netting_webhook::restored(&pod);
        let verdict = before.map(|before| decide(&before, &place, options));
        return Judgement {
            standing: Standing::Injected(sidecar),
            asked_by,
            warnings: verdict.map(|verdict| verdict.warnings).unwrap_or_default(),
        };
    }
    let asked = match View::read(&pod) {
        Ok(view) => asked_for(&view, &name, &labels, &options.system_namespace),
        Err(error) => Err(SkipReason::NotAPod(error)),
    };
    if let Err(reason) = asked {
        return Judgement {
            standing: Standing::Skipped(reason),
            asked_by,
            warnings: Vec::new(),
        };
    }
    let verdict = decide(&pod, &place, options);
    let standing = match verdict.decision {
        Decision::Inject(_) => Standing::Missing,
        Decision::Skip(reason) => Standing::Skipped(reason),
    };
    Judgement {
        standing,
        asked_by,
        warnings: verdict.warnings,
    }
}

fn raw(pod: &Pod) -> Value {
    serde_json::to_value(pod).expect("a pod of the API server is JSON")
}

fn asked_by(pod: &Value, namespace_labels: &BTreeMap<String, String>) -> AskedBy {
    let yes = |value: &str| Asks::of(value) == Asks::Yes;
    let own = pod["metadata"]["labels"][INJECT].as_str();
    if namespace_labels.get(INJECT).is_some_and(|value| yes(value)) {
        AskedBy::Namespace
    } else if own.is_some_and(yes) {
        AskedBy::Pod
    } else {
        AskedBy::Nobody
    }
}

/// The sidecar that Netting gave a pod.
fn sidecar_of(pod: &Value) -> Option<Sidecar> {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let mut containers = lists
        .iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten();
    let container = containers.find(|one| one["name"] == names::SIDECAR_CONTAINER)?;
    if pod["metadata"]["labels"][names::INJECTED] != "true" {
        return None;
    }
    let status = pod["metadata"]["annotations"][names::STATUS].as_str();
    let status: Value = serde_json::from_str(status.unwrap_or_default()).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(Sidecar {
        version: text(&status["version"]),
        mode: text(&status["mode"]),
        image: text(&container["image"]),
    })
}
