//! Which pods are in the mesh, which should be, and how their sidecars are.

mod sidecars;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt as _;
use netting_webhook::{
    Asks, Options, SkipReason,
    names::{INJECT, SidecarMode, WEBHOOK},
    options::PodSecurity,
};

use super::{
    Code, Facts, Finding, cluster, facts::Mesh, finding::counted, namespaces::labels_of,
    sync::created,
};
use crate::{
    admission::{AskedBy, Judgement, Standing, judge, options_of},
    workload::{Workload, has_ended},
};

/// Names of so many pods are told of a finding about more.
const NAMED_MAX: usize = 3;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(mesh) = &facts.mesh else {
        return Vec::new();
    };
    let pods = match &facts.pods {
        Ok(pods) => pods,
        Err(unknown) => return vec![unknown.told(Code::PodsUnknown, "")],
    };
    let Ok(namespaces) = &facts.namespaces else {
        return Vec::new();
    };
    let (options, mut findings) = options(facts, mesh);
    let limit_ranges = match &facts.limit_ranges {
        Ok(limit_ranges) => limit_ranges.as_slice(),
        Err(unknown) => {
            findings.push(unknown.told(Code::PodsUnknown, ""));
            &[]
        }
    };
    let by_name: BTreeMap<String, &Namespace> =
        namespaces.iter().map(|one| (one.name_any(), one)).collect();
    let mut found = Found::default();
    let mut meshed = 0_usize;
    for pod in pods.iter().filter(|pod| is_alive(pod)) {
        let place = by_name.get(&pod.namespace().unwrap_or_default());
        let Some(namespace) = place else {
            continue;
        };
        let judgement = judge(pod, namespace, limit_ranges, &options);
        if let Standing::Injected(sidecar) = &judgement.standing {
            meshed += 1;
            found.extend(pod, sidecars::of_pod(facts, pod, sidecar, &options));
        }
        found.extend(pod, standing(mesh, pod, namespace, &judgement));
        found.extend(pod, warnings(&judgement));
        found.extend(pod, labels_of("", pod.labels(), "its pods' template"));
    }
    findings.extend(found.into_findings());
    if meshed > 0 {
        let told = format!("{} with a sidecar", counted(meshed, "pod"));
        findings.push(Code::SidecarsGood.told("", told));
    }
    findings
}

/// How the API server enforces Pod Security, as far as the webhook was told.
pub(super) fn pod_security(facts: &Facts) -> PodSecurity {
    let mesh = facts.mesh.as_ref();
    mesh.map(|mesh| options(facts, mesh).0.pod_security)
        .unwrap_or_default()
}

/// Whether pods that say nothing about it are given native sidecars.
pub(super) fn injects_native_sidecars(facts: &Facts) -> bool {
    let mesh = facts.mesh.as_ref();
    mesh.is_some_and(|mesh| {
        let (options, _) = options(facts, mesh);
        options.native_sidecars && options.pod_defaults.mode == SidecarMode::Native
    })
}

/// How the webhook of this cluster decides.
fn options(facts: &Facts, mesh: &Mesh) -> (Options, Vec<Finding>) {
    let deployments = mesh
        .deployments
        .as_ref()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let webhook = deployments.iter().find(|one| one.name_any() == WEBHOOK);
    let native_sidecars = cluster::native_sidecars(facts);
    match options_of(webhook, native_sidecars) {
        Ok(options) => (options, Vec::new()),
        Err(error) => {
            let plain =
                options_of(None, native_sidecars).expect("the defaults agree with each other");
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default();
            let message = format!(
                "this command does not understand the webhook's flags ({why}), and goes by the defaults"
            );
            let subject = format!("deployment/{WEBHOOK}");
            (plain, vec![Code::PodsUnknown.told(subject, message)])
        }
    }
}

/// Neither ended nor ending: those are nobody's concern any more.
fn is_alive(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !has_ended(pod)
}

fn standing(mesh: &Mesh, pod: &Pod, namespace: &Namespace, judgement: &Judgement) -> Vec<Finding> {
    let restart = || Workload::of(pod).how_to_restart();
    let annotated = pod
        .annotations()
        .get(INJECT)
        .is_some_and(|value| Asks::of(value) == Asks::Yes);
    let finding = match &judgement.standing {
        Standing::Injected(_) => return Vec::new(),
        Standing::Missing => match older_than(mesh, pod, namespace, judgement.asked_by) {
            Some(what) => {
                let message = format!("has no sidecar yet: it is older than {what}");
                Code::SidecarNotYet.finding("", message, restart())
            }
            None => Code::SidecarMissing.finding(
                "",
                "asks for a sidecar and has none: the webhook was away, or not reached, when it was created",
                format!("see that the webhook is ready, then {}", restart()),
            ),
        },
        Standing::Skipped(SkipReason::NotAskedFor) if annotated => Code::AnnotationNotLabel.finding(
            "",
            format!("the annotation {INJECT} can't ask for a sidecar: only a label can"),
            format!("label the pod's template, or its namespace: {INJECT}=enabled"),
        ),
        Standing::Skipped(
            reason @ (SkipReason::OptedOutByAnnotation | SkipReason::OptedOutByLabel),
        ) if judgement.asked_by != AskedBy::Nobody => {
            let message = format!("has no sidecar, as it wishes ({})", reason.as_str());
            Code::OptedOut.told("", message)
        }
        Standing::Skipped(reason) => match reason.warning() {
            Some(warning) => {
                let why = warning.trim_start_matches("netting: pod not injected: ");
                let message = format!("can have no sidecar ({}): {why}", reason.as_str());
                let advice = format!("or say that it wants none: annotation {INJECT}: disabled");
                Code::SidecarRefused.finding("", message, advice)
            }
            None => return Vec::new(),
        },
    };
    vec![finding]
}

/// What there was not yet when the pod was created, of what it takes to get a sidecar.
fn older_than(
    mesh: &Mesh,
    pod: &Pod,
    namespace: &Namespace,
    asked_by: AskedBy,
) -> Option<&'static str> {
    let made = created(pod)?;
    let configurations = mesh.configurations.as_ref().ok()?;
    let name = netting_webhook::names::WEBHOOK_CONFIGURATION;
    let configuration = configurations.iter().find(|one| one.name_any() == name);
    let installed = configuration.and_then(|one| one.metadata.creation_timestamp.as_ref());
    if installed.is_some_and(|at| SystemTime::from(at.0) > made) {
        return Some("Netting's installation");
    }
    let labelled = labelled(namespace)?;
    (asked_by == AskedBy::Namespace && labelled > made).then_some("its namespace's label")
}

/// When a namespace was labelled, or later: who set the label may have changed
/// something else since.
fn labelled(namespace: &Namespace) -> Option<SystemTime> {
    let label = format!("f:{INJECT}");
    let owns = namespace.managed_fields().iter().filter(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| !fields.0["f:metadata"]["f:labels"][&label].is_null())
    });
    owns.filter_map(|entry| entry.time.as_ref())
        .map(|time| SystemTime::from(time.0))
        .max()
}

/// What the pod's author was told when it was created, but for what is told anyway.
fn warnings(judgement: &Judgement) -> Vec<Finding> {
    let told = match &judgement.standing {
        Standing::Skipped(reason) => reason.warning(),
        _ => None,
    };
    let others = judgement
        .warnings
        .iter()
        .filter(|line| Some(*line) != told.as_ref());
    others
        .map(|line| {
            let line = line.trim_start_matches("netting: ");
            Code::ValueIgnored.finding("", line, "correct it in the manifest, and apply that again")
        })
        .collect()
}

/// Findings about pods: what is said of several pods of a workload is said once.
#[derive(Default)]
struct Found {
    by_workload: BTreeMap<(Workload, Code, String, String), BTreeSet<String>>,
}

impl Found {
    fn extend(&mut self, pod: &Pod, findings: Vec<Finding>) {
        for one in findings {
            let key = (Workload::of(pod), one.code, one.message, one.advice);
            self.by_workload
                .entry(key)
                .or_default()
                .insert(pod.name_any());
        }
    }

    fn into_findings(self) -> impl Iterator<Item = Finding> {
        self.by_workload
            .into_iter()
            .map(|((workload, code, message, advice), pods)| {
                let subject = format!("{}/{workload}", workload.namespace);
                let message = match pods.len() {
                    1 if workload.kind == "Pod" => message,
                    count => format!("{message} ({}: {})", counted(count, "pod"), named(&pods)),
                };
                code.finding(subject, message, advice)
            })
    }
}

fn named(pods: &BTreeSet<String>) -> String {
    let mut names: Vec<&str> = pods.iter().take(NAMED_MAX).map(String::as_str).collect();
    if pods.len() > NAMED_MAX {
        names.push("…");
    }
    names.join(", ")
}
