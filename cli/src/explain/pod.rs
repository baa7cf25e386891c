//! Why a pod has a sidecar, or has none.

use k8s_openapi::api::core::v1::{LimitRange, Namespace, Pod};
use kube::ResourceExt as _;
use netting_webhook::{Options, SkipReason, names::INJECT};

use super::{Explanation, Mark};
use crate::{
    admission::{AskedBy, Judgement, Standing, judge},
    workload::Workload,
};

/// What is known of the pod.
#[derive(Debug)]
pub struct Known<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// What the namespace allows its pods.
    pub limit_ranges: &'a [LimitRange],
    /// How the webhook decides.
    pub options: &'a Options,
    /// What Events say of it and of what made it, with their reasons; about Netting
    /// alone.
    pub events: &'a [(String, String)],
    /// Whether there is a webhook configuration of Netting.
    pub is_installed: bool,
}

/// Says why.
#[must_use]
pub fn explain(known: &Known<'_>) -> Explanation {
    let name = format!("{}/{}", known.namespace.name_any(), known.pod.name_any());
    let mut explanation = Explanation::new(format!("pod {name} ({})", Workload::of(known.pod)));
    let judgement = judge(
        known.pod,
        known.namespace,
        known.limit_ranges,
        known.options,
    );
    asked(&mut explanation, known, &judgement);
    let told = match &judgement.standing {
        Standing::Skipped(reason) => reason.warning(),
        Standing::Injected(_) | Standing::Missing => None,
    };
    let others = judgement.warnings.iter();
    for warning in others.filter(|line| Some(*line) != told.as_ref()) {
        explanation.step(
            Mark::Warning,
            "warning",
            warning.trim_start_matches("netting: "),
        );
    }
    for (reason, note) in known.events {
        explanation.step(Mark::Warning, "event", format!("{reason}: {note}"));
    }
    match &judgement.standing {
        Standing::Injected(sidecar) => {
            let version = &sidecar.version;
            let how = format!(
                "{} sidecar of version {version}, image {}",
                sidecar.mode, sidecar.image
            );
            explanation.step(Mark::Good, "sidecar", how);
            if judgement.asked_by == AskedBy::Nobody {
                let says = "nobody asks for it any more: it goes with the next restart, or it was injected into the manifest";
                explanation.step(Mark::Warning, "asked for", says);
            }
            explanation.so("requested", "it has a sidecar")
        }
        Standing::Missing if !known.is_installed => {
            let verdict =
                "it asks for a sidecar, and Netting is not installed: run `netting install`";
            explanation.so("not_installed", verdict)
        }
        Standing::Missing => {
            let restart = Workload::of(known.pod).how_to_restart();
            let verdict = format!(
                "it should have a sidecar and has none: it was created before it asked for one, or while \
                 the webhook was away; to inject it: {restart}"
            );
            explanation.so("not_asked_about", verdict)
        }
        Standing::Skipped(reason) => {
            let verdict = format!("it has no sidecar: {}", why(reason));
            explanation.so(reason.as_str(), verdict)
        }
    }
}

fn asked(explanation: &mut Explanation, known: &Known<'_>, judgement: &Judgement) {
    let by = |labels: &std::collections::BTreeMap<String, String>| match labels.get(INJECT) {
        Some(value) => format!("label {INJECT}: {value}"),
        None => format!("no label {INJECT}"),
    };
    let mark = |is_it| if is_it { Mark::Good } else { Mark::Plain };
    let asked_by = judgement.asked_by;
    let (namespace, pod) = (known.namespace, known.pod);
    let says = by(namespace.labels());
    explanation.step(mark(asked_by == AskedBy::Namespace), "namespace", says);
    if let Some(value) = namespace.annotations().get(INJECT) {
        let says = format!(
            "annotation {INJECT}: {value}, which says nothing: on namespaces it is a label"
        );
        explanation.step(Mark::Warning, "namespace", says);
    }
    explanation.step(mark(asked_by == AskedBy::Pod), "pod", by(pod.labels()));
    if let Some(value) = pod.annotations().get(INJECT) {
        explanation.step(Mark::Plain, "pod", format!("annotation {INJECT}: {value}"));
    }
}

/// A skip reason for people who wonder.
fn why(reason: &SkipReason) -> String {
    if let Some(warning) = reason.warning() {
        return warning
            .trim_start_matches("netting: pod not injected: ")
            .to_owned();
    }
    let why = match reason {
        SkipReason::NotAskedFor => {
            return format!(
                "neither its namespace nor the pod asks for one; label either {INJECT}=enabled"
            );
        }
        SkipReason::SystemNamespace => "pods of kube-system and of Netting itself are left alone",
        SkipReason::MirrorPod => {
            "it is the API server's copy of a static pod, which a patch would not change"
        }
        SkipReason::OptedOutByAnnotation => "its annotation says that it wants none",
        SkipReason::OptedOutByLabel => "its label says that it wants none",
        other => other.as_str(),
    };
    why.to_owned()
}
