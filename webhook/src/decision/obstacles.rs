//! What keeps a pod from being injected, in the order in which it is asked: what
//! its author said, then what is there already, then what could not work.

use serde_json::Value;

use crate::{
    names,
    options::{Given, Options, Source},
    pod::{Container, Pod},
    status,
    warnings::Warnings,
};

use super::SkipReason;

/// The sidecars and init containers of other meshes, and whose they are.
const OTHER_MESHES: [(&str, &str); 12] = [
    ("istio-proxy", "Istio"),
    ("istio-init", "Istio"),
    ("istio-validation", "Istio"),
    ("linkerd-proxy", "Linkerd"),
    ("linkerd-init", "Linkerd"),
    ("linkerd-network-validator", "Linkerd"),
    ("consul-dataplane", "Consul"),
    ("consul-connect-inject-init", "Consul"),
    ("envoy-sidecar", "Consul"),
    ("kuma-sidecar", "Kuma"),
    ("kuma-init", "Kuma"),
    ("kuma-validation", "Kuma"),
];

/// The labels by which a pod chooses its nodes' operating system.
const OS_LABELS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// # Errors
/// The first reason not to inject the pod.
pub(super) fn check(
    pod: &Pod<'_>,
    namespace: &str,
    options: &Options,
    warnings: &mut Warnings,
) -> Result<(), SkipReason> {
    if namespace == names::KUBE_SYSTEM || namespace == options.system_namespace {
        return Err(SkipReason::SystemNamespace);
    }
    if pod.annotation(names::MIRROR_POD).is_some() {
        return Err(SkipReason::MirrorPod);
    }
    opted_out(pod, warnings)?;
    ours_or_named_like_ours(pod)?;
    if pod.spec("hostNetwork") == Some(&Value::Bool(true)) {
        return Err(SkipReason::HostNetwork);
    }
    if is_windows(pod) {
        return Err(SkipReason::Windows);
    }
    other_mesh(pod)?;
    if pod
        .all_containers()
        .any(|container| pod.run_as_user(container) == Some(names::SIDECAR_UID))
    {
        return Err(SkipReason::UidTaken);
    }
    port_taken(pod)
}

/// Either of the two may say no. A value that is neither yes nor no is a mistake
/// that is warned about, and says nothing.
fn opted_out(pod: &Pod<'_>, warnings: &mut Warnings) -> Result<(), SkipReason> {
    let mut says_no = |value: Option<&str>, place: &str| match value {
        Some("disabled" | "false") => true,
        None | Some("enabled" | "true") => false,
        Some(value) => {
            let (source, key) = (Source::Pod, names::INJECT);
            let why = format!("is not enabled or disabled ({place})");
            warnings.ignored(Given { source, key, value }, &why);
            false
        }
    };
    let by_annotation = says_no(pod.annotation(names::INJECT), "annotation");
    let by_label = says_no(pod.label(names::INJECT), "label");
    if by_annotation {
        Err(SkipReason::OptedOutByAnnotation)
    } else if by_label {
        Err(SkipReason::OptedOutByLabel)
    } else {
        Ok(())
    }
}

/// Containers of our names are ours if the status annotation lists them. Without
/// those containers the annotation says nothing: it came with a copied manifest.
fn ours_or_named_like_ours(pod: &Pod<'_>) -> Result<(), SkipReason> {
    let has = |name| {
        pod.all_containers()
            .any(|container| container.name() == name)
    };
    let taken = [names::INIT_CONTAINER, names::SIDECAR_CONTAINER].map(|name| (name, has(name)));
    let Some((container, _)) = taken.iter().find(|(_, taken)| *taken) else {
        return Ok(());
    };
    if taken.iter().all(|(_, taken)| *taken) && status::lists_containers_of(pod) {
        return Err(SkipReason::AlreadyInjected);
    }
    Err(SkipReason::NameTaken { container })
}

fn is_windows(pod: &Pod<'_>) -> bool {
    let os = pod.spec("os").and_then(|os| os.get("name"));
    let selector = pod.spec("nodeSelector");
    let selected = |label: &&str| selector.and_then(|selector| selector.get(*label));
    os.into_iter()
        .chain(OS_LABELS.iter().filter_map(selected))
        .any(|os| os == "windows")
}

fn other_mesh(pod: &Pod<'_>) -> Result<(), SkipReason> {
    let mesh_of = |container: Container<'_>| {
        OTHER_MESHES
            .iter()
            .find(|(name, _)| *name == container.name())
    };
    match pod.all_containers().find_map(mesh_of) {
        Some((_, mesh)) => Err(SkipReason::OtherMesh { mesh }),
        None => Ok(()),
    }
}

fn port_taken(pod: &Pod<'_>) -> Result<(), SkipReason> {
    let ours = [names::OUTBOUND_PORT, names::INBOUND_PORT, names::ADMIN_PORT];
    let declared = pod
        .all_containers()
        .flat_map(|container| container.tcp_ports());
    match declared.into_iter().find(|port| ours.contains(port)) {
        Some(port) => Err(SkipReason::PortTaken { port }),
        None => Ok(()),
    }
}
