//! Whether Netting is there, as a whole and once.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, apps::v1::Deployment, core::v1::Pod,
};
use kube::ResourceExt as _;
use netting_webhook::names;

use super::{Code, Facts, Finding, Unknown, facts::Mesh};
use crate::{
    exposition,
    installation::{
        ready::PARTS,
        removal,
        trial::{self, Trial},
    },
    instruments,
};

/// Whether there is anything of Netting.
pub(super) fn is_there(mesh: &Mesh) -> bool {
    let deployed = mesh.deployments.as_ref().is_ok_and(|all| {
        let ours = |one: &Deployment| PARTS.contains(&one.name_any().as_str());
        all.iter().any(ours)
    });
    let configured = mesh.configurations.as_ref();
    deployed || configured.is_ok_and(|all| all.iter().any(is_ours))
}

fn is_ours(configuration: &MutatingWebhookConfiguration) -> bool {
    let webhooks = configuration.webhooks.iter().flatten();
    configuration.name_any() == names::WEBHOOK_CONFIGURATION
        || webhooks
            .map(|one| one.name.as_str())
            .any(|name| name.ends_with(names::WEBHOOKS_DOMAIN))
}

pub(super) fn findings(facts: &Facts, mesh: &Mesh) -> Vec<Finding> {
    let unknown = [
        mesh.namespace.as_ref().err(),
        mesh.deployments.as_ref().err(),
        mesh.configurations.as_ref().err(),
    ];
    let mut findings: Vec<_> = unknown.into_iter().flatten().map(not_asked).collect();
    findings.extend(ending(mesh));
    if !is_there(mesh) {
        if findings.is_empty() {
            let message = format!(
                "Netting is not installed in namespace {}",
                facts.system_namespace
            );
            let advice = "run `netting install`, or say where it is by --system-namespace";
            findings.push(Code::NotInstalled.finding("", message, advice));
        }
        return findings;
    }
    if let Some(other) = elsewhere(facts, mesh) {
        findings.push(other);
        if mesh.deployments.as_ref().is_ok_and(Vec::is_empty) {
            return findings;
        }
    }
    if let Ok(all) = &mesh.configurations {
        findings.extend(configurations(all));
    }
    if let Ok(all) = &mesh.deployments {
        for name in PARTS {
            match all.iter().find(|one| one.name_any() == name) {
                Some(one) => findings.push(replicas(one, mesh)),
                None => findings.push(missing(&format!("deployment/{name}"))),
            }
        }
    }
    findings.push(trial(mesh));
    findings.extend(versions(facts, mesh));
    findings
}

/// The system namespace, if it is on its way out.
fn ending(mesh: &Mesh) -> Option<Finding> {
    let own = mesh.namespace.as_ref().ok()?.as_ref()?;
    own.metadata.deletion_timestamp.as_ref()?;
    let object = serde_json::to_value(own).expect("an object is JSON");
    Some(Code::NamespaceEnds.finding(
        format!("namespace/{}", own.name_any()),
        format!("is being deleted ({})", removal::held_by(&object)),
        "`netting uninstall` finishes that and says what holds it; then `netting install`, if you want it back",
    ))
}

/// The installation that pods are sent to, if that is not the one looked at.
fn elsewhere(facts: &Facts, mesh: &Mesh) -> Option<Finding> {
    let own = &facts.system_namespace;
    let configurations = mesh.configurations.as_ref().ok()?;
    let named =
        |one: &&MutatingWebhookConfiguration| one.name_any() == names::WEBHOOK_CONFIGURATION;
    let webhooks = configurations.iter().find(named)?.webhooks.as_ref()?;
    let mut services = webhooks
        .iter()
        .filter_map(|one| one.client_config.service.as_ref());
    let asked = &services.next()?.namespace;
    let subject = format!("namespace/{asked}");
    if asked == own {
        return None;
    }
    Some(match &mesh.deployments {
        Ok(deployments) if deployments.is_empty() => Code::InstalledElsewhere.finding(
            subject,
            format!("Netting is installed there, and not in namespace {own}"),
            format!("say --system-namespace {asked}, or set NETTING_SYSTEM_NAMESPACE"),
        ),
        _ => Code::TwoInstallations.finding(
            subject,
            format!("its webhook is asked for sidecars, and there is another in namespace {own}"),
            format!(
                "keep one of the two: netting uninstall --system-namespace {own}, or {asked}; \
                 then `netting install` for the one that stays"
            ),
        ),
    })
}

fn configurations(all: &[MutatingWebhookConfiguration]) -> Vec<Finding> {
    let ours: Vec<_> = all.iter().filter(|one| is_ours(one)).collect();
    let mut findings = Vec::new();
    if !ours
        .iter()
        .any(|one| one.name_any() == names::WEBHOOK_CONFIGURATION)
    {
        let name = names::WEBHOOK_CONFIGURATION;
        findings.push(missing(&format!("mutatingwebhookconfiguration/{name}")));
    }
    for other in ours
        .iter()
        .filter(|one| one.name_any() != names::WEBHOOK_CONFIGURATION)
    {
        let subject = format!("mutatingwebhookconfiguration/{}", other.name_any());
        let message = "another installation asks for the same pods";
        let advice = format!("keep one of the two: kubectl delete {subject}");
        findings.push(Code::TwoInstallations.finding(subject, message, advice));
    }
    for one in ours {
        let mut webhooks = one.webhooks.iter().flatten();
        if webhooks.any(|webhook| webhook.failure_policy.as_deref() == Some("Fail")) {
            findings.push(Code::FailurePolicyFail.finding(
                format!("mutatingwebhookconfiguration/{}", one.name_any()),
                "failurePolicy Fail: while the webhook is away, no pod that asks for a sidecar starts",
                "set it to Ignore unless that is what you want, and run two replicas of the webhook",
            ));
        }
    }
    findings
}

fn missing(subject: &str) -> Finding {
    let advice = "run `netting install` again: it makes what is missing and leaves the rest";
    Code::PartMissing.finding(subject, "is missing", advice)
}

fn replicas(deployment: &Deployment, mesh: &Mesh) -> Finding {
    let name = deployment.name_any();
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let status = deployment.status.as_ref();
    let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
    let subject = format!("deployment/{name}");
    if ready >= wanted && wanted > 0 {
        return Code::ReplicasGood.told(subject, format!("{ready} of {wanted} replicas ready"));
    }
    let pods = mesh.pods.as_ref().map(Vec::as_slice).unwrap_or_default();
    let own = pods.iter().filter(|pod| pod.name_any().starts_with(&name));
    let why: BTreeSet<String> = own.flat_map(troubles).collect();
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(": {}", why.into_iter().collect::<Vec<_>>().join("; "))
    };
    let message = format!("{ready} of {wanted} replicas ready{why}");
    let advice = match wanted {
        0 => format!(
            "scale it up: kubectl -n {} scale {subject} --replicas=1",
            namespace(deployment)
        ),
        _ => format!(
            "see kubectl -n {} describe {subject}, and its pods' logs",
            namespace(deployment)
        ),
    };
    Code::ReplicasMissing.finding(subject, message, advice)
}

fn namespace(deployment: &Deployment) -> String {
    deployment.namespace().unwrap_or_default()
}

/// Why a pod's containers don't run, as the kubelet says.
fn troubles(pod: &Pod) -> Vec<String> {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let waiting = containers.into_iter().flatten().filter_map(|container| {
        let state = container.state.as_ref()?.waiting.as_ref()?;
        state.reason.clone()
    });
    waiting.collect()
}

fn trial(mesh: &Mesh) -> Finding {
    let place = trial::NAMESPACE;
    match &mesh.trial {
        Ok(Trial::Injected) => Code::TrialGood.told("", "a pod on trial is given a sidecar"),
        Ok(Trial::Left(why)) => Code::TrialGood.told(
            "",
            format!("the webhook is asked; a pod on trial in the namespace {place} gets no sidecar: {why}"),
        ),
        Ok(Trial::Unasked) => Code::TrialBad.finding(
            "",
            "a pod on trial that asks for a sidecar gets none: the API server does not get to the webhook",
            "can the control plane reach port 8443 of the webhook's pods? In private clusters a firewall rule has to allow it",
        ),
        Ok(Trial::Refused(refusal)) => Code::TrialRefused.finding(
            format!("namespace/{place}"),
            format!("pods with a sidecar are refused here: {refusal}"),
            trial::advice(refusal),
        ),
        Ok(Trial::Untried(refusal)) => Code::TrialUntried.told(
            format!("namespace/{place}"),
            format!("pods on trial are refused: {refusal}"),
        ),
        Err(unknown) => not_asked(unknown),
    }
}

/// The versions that the control plane's own pods say they are.
fn versions(facts: &Facts, mesh: &Mesh) -> Vec<Finding> {
    let said = mesh.metrics.iter().map(|(pod, metrics)| {
        let subject = format!("pod/{pod}");
        let silent = |why: &str, lasts| Finding {
            lasts,
            ..Code::ControlPlaneUnknown.told(
                subject.clone(),
                format!("does not answer at its admin port: {why}"),
            )
        };
        match metrics.as_deref().map(exposition::samples) {
            Err(unknown) => silent(&unknown.why, unknown.refused),
            Ok(Err(error)) => silent(&error.to_string(), false),
            Ok(Ok(samples)) => {
                let version = instruments::version(&samples).unwrap_or_default();
                version_of(facts, subject, &version)
            }
        }
    });
    said.collect()
}

fn version_of(facts: &Facts, subject: String, version: &str) -> Finding {
    if version == facts.own_version {
        return Code::ControlPlaneVersionGood.told(subject, format!("version {version}"));
    }
    let own = facts.own_version;
    Code::ControlPlaneVersionDiffers.finding(
        subject,
        format!("version {version}, and this command is {own}"),
        "run `netting upgrade`, or use the command of the same version",
    )
}

fn not_asked(unknown: &Unknown) -> Finding {
    unknown.told(Code::ControlPlaneUnknown, "")
}
