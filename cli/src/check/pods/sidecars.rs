//! How a pod's sidecar is: by what the kubelet says, and what it says itself.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use netting_webhook::{
    Options,
    names::{INIT_CONTAINER, SIDECAR_CONTAINER},
};

use crate::{
    admission::Sidecar,
    check::{Code, Facts, Finding, rules::last_words},
    workload::Workload,
};

pub(super) fn of_pod(
    facts: &Facts,
    pod: &Pod,
    sidecar: &Sidecar,
    options: &Options,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let expects_image = facts
        .mesh
        .as_ref()
        .is_some_and(|mesh| mesh.deployments.as_ref().is_ok_and(|all| !all.is_empty()));
    if expects_image && sidecar.image != options.image {
        let Sidecar { image, version, .. } = sidecar;
        let message = format!(
            "sidecar is {image} (version {version}), and the webhook injects {}",
            options.image
        );
        findings.push(Code::SidecarVersionDiffers.finding(
            "",
            message,
            Workload::of(pod).how_to_restart(),
        ));
    }
    findings.extend(unready(pod));
    let name = crate::mesh::name_of(pod);
    match facts.sidecars.get(&name) {
        Some(Ok(config)) if !config.catalog.connected => {
            let catalog = &config.catalog.address;
            findings.push(Code::SidecarWithoutCatalog.finding(
                "",
                format!("sidecar has no stream to the catalog at {catalog}: it goes by what it knew, and passes the rest through"),
                "is deployment/netting-catalog ready, and does a NetworkPolicy allow its port 15010?",
            ));
        }
        Some(Err(why)) => {
            let message = format!("sidecar does not answer at its admin port: {why}");
            findings.push(Code::SidecarSilent.finding(
                "",
                message,
                "see its log: kubectl logs -c netting-sidecar",
            ));
        }
        Some(Ok(_)) | None => {}
    }
    findings
}

fn unready(pod: &Pod) -> Option<Finding> {
    let status = pod.status.as_ref()?;
    let inits = status.init_container_statuses.iter().flatten();
    let all: Vec<_> = inits
        .chain(status.container_statuses.iter().flatten())
        .collect();
    let of = |name: &str| all.iter().find(|one| one.name == name).copied();
    let running = status.phase.as_deref() == Some("Running");
    let init = of(INIT_CONTAINER).and_then(|init| trouble(init, false));
    let sidecar = || of(SIDECAR_CONTAINER).and_then(|one| trouble(one, running));
    let (container, why) = match init {
        Some(why) => (INIT_CONTAINER, why),
        None => (SIDECAR_CONTAINER, sidecar()?),
    };
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let advice = format!("kubectl -n {namespace} logs {name} -c {container}");
    Some(Code::SidecarNotReady.finding("", format!("{container} {why}"), advice))
}

/// What is wrong with a container, if anything: `must_run` unless it is one that ends.
fn trouble(container: &ContainerStatus, must_run: bool) -> Option<String> {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    // Other reasons are steps on the way.
    let stuck = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .filter(|reason| {
            reason.ends_with("BackOff") || reason.starts_with("Err") || reason.ends_with("Error")
        });
    if let Some(reason) = stuck {
        return Some(format!(
            "does not start: {reason} ({} restarts){}",
            container.restart_count,
            last_words(container)
        ));
    }
    let ended = state.and_then(|state| state.terminated.as_ref());
    if let Some(code) = ended.map(|ended| ended.exit_code).filter(|code| *code != 0) {
        return Some(format!(
            "ended with exit code {code}{}",
            last_words(container)
        ));
    }
    (must_run && !container.ready)
        .then(|| format!("is not ready ({} restarts)", container.restart_count))
}
