//! What namespaces say to Netting, and what they keep from their pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use netting_webhook::{
    Asks,
    names::{DOMAIN, INJECT, INJECTED, POD_SECURITY, SIDECAR_UID},
    options::{PodSecurity, Standard},
};

use super::{Code, Facts, Finding, facts::Mesh, pods};
use crate::installation::trial::{self, Trial};

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    match &facts.namespaces {
        Ok(namespaces) => {
            let pod_security = pods::pod_security(facts);
            let of_one = |namespace| of_one(namespace, &pod_security);
            namespaces.iter().flat_map(of_one).collect()
        }
        Err(unknown) => vec![unknown.told(Code::PodsUnknown, "")],
    }
}

fn of_one(namespace: &Namespace, pod_security: &PodSecurity) -> Vec<Finding> {
    let name = namespace.name_any();
    let subject = format!("namespace/{name}");
    let mut findings = Vec::new();
    let labels = namespace.labels();
    let enforced = pod_security.enforced(&netting_webhook::Namespace {
        pod_security: labels.get(POD_SECURITY).map(String::as_str),
        ..netting_webhook::Namespace::named(&name)
    });
    if asks(namespace) && enforced != Standard::Privileged {
        let level = enforced.as_str();
        findings.push(Code::PodSecurityRefuses.finding(
            subject.clone(),
            format!(
                "its pods get no sidecar: Pod Security {level} would refuse them, since netting-init needs NET_ADMIN and NET_RAW"
            ),
            format!(
                "kubectl label --overwrite {subject} {POD_SECURITY}=privileged, with warn and audit at {level}: \
                 the sidecar itself runs as uid {SIDECAR_UID} with no capability"
            ),
        ));
    }
    if let Some(value) = namespace.annotations().get(INJECT) {
        let message =
            format!("the annotation {INJECT}: {value} says nothing: on namespaces it is a label");
        let advice = format!("kubectl label {subject} {INJECT}={value}");
        findings.push(Code::AnnotationNotLabel.finding(subject.clone(), message, advice));
    }
    findings.extend(labels_of(&subject, labels, "the namespace"));
    findings
}

/// Where pods with a sidecar are refused, though the namespace asks for them.
pub(super) fn trials(mesh: &Mesh) -> Vec<Finding> {
    let found = mesh.trials.iter().filter_map(|(namespace, trial)| {
        let subject = format!("namespace/{namespace}");
        match trial {
            // What is left as it is, its own finding is about.
            Ok(Trial::Injected | Trial::Left(_) | Trial::Unasked) => None,
            Ok(Trial::Refused(refusal)) => Some(Code::SidecarsRefused.finding(
                subject,
                format!("its new pods are refused, for what a sidecar needs: {refusal}"),
                trial::advice(refusal),
            )),
            Ok(Trial::Untried(refusal)) => Some(
                Code::SidecarsUntried
                    .told(subject, format!("pods on trial are refused: {refusal}")),
            ),
            Err(unknown) => Some(unknown.told(Code::PodsUnknown, subject)),
        }
    });
    found.collect()
}

/// What is wrong with an object's labels; `place` is where they are written.
pub(super) fn labels_of(
    subject: &str,
    labels: &BTreeMap<String, String>,
    place: &str,
) -> Vec<Finding> {
    let ours = labels.iter().filter(|(key, _)| key.starts_with(DOMAIN));
    let wrong = ours.filter_map(|(key, value)| match key.as_str() {
        INJECTED => None,
        INJECT if Asks::of(value) != Asks::Unclear => None,
        INJECT => {
            let message = format!("the label {key}: \"{value}\" is neither enabled nor disabled");
            Some(Code::ValueIgnored.finding(subject, message, "write enabled or disabled"))
        }
        _ => {
            let message = format!("the label {key} says nothing: it is an annotation");
            let advice = format!("make it an annotation of {place}");
            Some(Code::LabelNotAnnotation.finding(subject, message, advice))
        }
    });
    wrong.collect()
}

/// Whether the namespace asks for sidecars for its pods.
#[must_use]
pub fn asks(namespace: &Namespace) -> bool {
    let label = namespace.labels().get(INJECT);
    label.is_some_and(|value| Asks::of(value) == Asks::Yes)
}
