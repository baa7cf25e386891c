//! What keeps a pod from being injected, in the order in which it is asked: what
//! its author said, then what is there already, then what could not work.

use serde_json::{Value, json};

use crate::{
    names,
    options::{Given, Namespace, Options, Source, Standard},
    pod::{Container, Pod},
    status,
    warnings::Warnings,
};

use super::{Asks, SkipReason};

/// The sidecars and init containers of other meshes, and whose they are.
const OTHER_MESHES: [(&str, &str); 11] = [
    ("istio-proxy", "Istio"),
    ("istio-init", "Istio"),
    ("istio-validation", "Istio"),
    ("linkerd-proxy", "Linkerd"),
    ("linkerd-init", "Linkerd"),
    ("linkerd-network-validator", "Linkerd"),
    ("consul-dataplane", "Consul"),
    ("consul-connect-inject-init", "Consul"),
    ("kuma-sidecar", "Kuma"),
    ("kuma-init", "Kuma"),
    ("kuma-validation", "Kuma"),
];

/// The labels by which a pod chooses its nodes' operating system.
const OS_LABELS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// All that keeps the pod from being injected. The first one is the reason; those
/// after it are what would keep it from being injected next.
pub(super) fn find(
    pod: &Pod<'_>,
    namespace: Namespace<'_>,
    options: &Options,
    warnings: &mut Warnings,
) -> Vec<SkipReason> {
    if namespace.name == names::KUBE_SYSTEM || namespace.name == options.system_namespace {
        return vec![SkipReason::SystemNamespace];
    }
    if pod.annotation(names::MIRROR_POD).is_some() {
        return vec![SkipReason::MirrorPod];
    }
    let not_asked_for = || {
        let unclear = pod.label(names::INJECT).map(Asks::of) == Some(Asks::Unclear);
        (unclear && namespace.asks == Some(false)).then_some(SkipReason::NotAskedFor)
    };
    if let Some(reason) = opted_out(pod, warnings)
        .or_else(not_asked_for)
        .or_else(|| already_injected(pod))
        .or_else(|| leftovers(pod))
    {
        return vec![reason];
    }
    let uid_taken = pod
        .all_containers()
        .any(|container| pod.run_as_user(container) == Some(names::SIDECAR_UID));
    // `hostUsers: false` is none: the pod's user namespace owns its network
    // namespace, so netting-init has its capabilities there, and the kernel compares
    // uids as that namespace numbers them. (netting-iptables-init's tests run in one.)
    let host_network = pod.spec("hostNetwork") == Some(&Value::Bool(true));
    host_network
        .then_some(SkipReason::HostNetwork)
        .into_iter()
        .chain(is_windows(pod).then_some(SkipReason::Windows))
        .chain(other_mesh(pod))
        .chain(names_taken(pod))
        .chain(uid_taken.then_some(SkipReason::UidTaken))
        .chain(ports_taken(pod))
        .chain(pod_security(namespace, options))
        .chain(projected_mode(pod))
        .collect()
}

/// Either of the two may say no. A value that is neither yes nor no is a mistake
/// that is warned about, and says nothing.
fn opted_out(pod: &Pod<'_>, warnings: &mut Warnings) -> Option<SkipReason> {
    let mut says_no = |value: Option<&str>, place: &str| {
        let value = value.unwrap_or("enabled");
        let asks = Asks::of(value);
        if asks == Asks::Unclear {
            let (source, key) = (Source::Pod, names::INJECT);
            let why = format!("is not enabled or disabled ({place})");
            warnings.ignored(Given { source, key, value }, &why);
        }
        asks == Asks::No
    };
    let by_annotation = says_no(pod.annotation(names::INJECT), "annotation");
    let by_label = says_no(pod.label(names::INJECT), "label");
    if by_annotation {
        Some(SkipReason::OptedOutByAnnotation)
    } else {
        by_label.then_some(SkipReason::OptedOutByLabel)
    }
}

/// Containers of our names are ours if the status annotation lists them. Without
/// those containers the annotation says nothing: it came with a copied manifest.
fn already_injected(pod: &Pod<'_>) -> Option<SkipReason> {
    let containers = [names::INIT_CONTAINER, names::SIDECAR_CONTAINER];
    let all_there = containers.iter().all(|name| has_container(pod, name));
    (all_there && status::lists_containers_of(pod)).then_some(SkipReason::AlreadyInjected)
}

/// What has our names, if all of it is of our making: then it is not for the pod's author
/// to rename, and neither are its uid and its ports.
fn leftovers(pod: &Pod<'_>) -> Option<SkipReason> {
    let names = [names::INIT_CONTAINER, names::SIDECAR_CONTAINER];
    let mut containers = pod.all_containers().filter(|c| names.contains(&c.name()));
    let mut volumes = pod.volumes().iter().filter(is_token_volume);
    let are_ours = containers.all(runs_our_binary) && volumes.all(has_our_audience);
    let containers = names.into_iter().filter(|name| has_container(pod, name));
    let volume = pod.volumes().iter().find(is_token_volume);
    let of: Vec<_> = containers
        .chain(volume.map(|_| names::TOKEN_VOLUME))
        .collect();
    (are_ours && !of.is_empty()).then_some(SkipReason::Leftovers { of })
}

fn runs_our_binary(container: Container<'_>) -> bool {
    let binary = container.get("command").and_then(|command| command.get(0));
    let binary = binary.and_then(Value::as_str);
    binary.is_some_and(|binary| binary.starts_with("/netting/"))
}

fn is_token_volume(volume: &&Value) -> bool {
    volume["name"] == names::TOKEN_VOLUME
}

fn has_our_audience(volume: &Value) -> bool {
    let sources = volume["projected"]["sources"].as_array();
    let is_ours =
        |source: &Value| source["serviceAccountToken"]["audience"] == names::TOKEN_AUDIENCE;
    sources.is_some_and(|sources| sources.iter().any(is_ours))
}

fn names_taken(pod: &Pod<'_>) -> impl Iterator<Item = SkipReason> {
    let container = [names::INIT_CONTAINER, names::SIDECAR_CONTAINER]
        .into_iter()
        .filter(|name| has_container(pod, name))
        .map(|name| SkipReason::NameTaken {
            kind: "container",
            name,
        });
    let volume = pod
        .volumes()
        .iter()
        .any(|volume| is_token_volume(&volume))
        .then_some(SkipReason::NameTaken {
            kind: "volume",
            name: names::TOKEN_VOLUME,
        });
    container.chain(volume)
}

fn has_container(pod: &Pod<'_>, name: &str) -> bool {
    pod.all_containers()
        .any(|container| container.name() == name)
}

/// Whether all of its places to run at are Windows nodes.
fn is_windows(pod: &Pod<'_>) -> bool {
    let os = pod.spec("os").and_then(|os| os.get("name"));
    let selector = pod.spec("nodeSelector");
    let selected = |label: &&str| selector.and_then(|selector| selector.get(*label));
    os.into_iter()
        .chain(OS_LABELS.iter().filter_map(selected))
        .any(|os| os == "windows")
        || requires_windows(pod)
        || has_windows_options(pod)
}

/// The API server refuses them beside `os: linux`.
fn has_windows_options(pod: &Pod<'_>) -> bool {
    let own = pod.all_containers().map(|c| c.get("securityContext"));
    own.chain([pod.spec("securityContext")])
        .filter_map(|context| context?.get("windowsOptions")?.as_object())
        .any(|options| !options.is_empty())
}

/// Of a required affinity's terms any may hold; of a term's expressions all must.
fn requires_windows(pod: &Pod<'_>) -> bool {
    const TERMS: &str =
        "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = pod
        .spec("affinity")
        .and_then(|affinity| affinity.pointer(TERMS)?.as_array());
    let is_windows = |expression: &Value| {
        let key = expression["key"].as_str();
        key.is_some_and(|key| OS_LABELS.contains(&key))
            && expression["operator"] == "In"
            && expression["values"] == json!(["windows"])
    };
    let asks_for_windows = |term: &Value| {
        let expressions = term["matchExpressions"].as_array();
        expressions.is_some_and(|all| all.iter().any(is_windows))
    };
    terms.is_some_and(|terms| !terms.is_empty() && terms.iter().all(asks_for_windows))
}

fn other_mesh(pod: &Pod<'_>) -> Option<SkipReason> {
    // Consul has one of each for every service of a pod, named after it.
    let is_one = |name: &str, own: &str, mesh: &str| {
        let more = name.strip_prefix(own);
        more.is_some_and(|more| more.is_empty() || (mesh == "Consul" && more.starts_with('-')))
    };
    let mesh_of = |container: Container<'_>| {
        OTHER_MESHES
            .iter()
            .find(|(own, mesh)| is_one(container.name(), own, mesh))
    };
    let (_, mesh) = pod.all_containers().find_map(mesh_of)?;
    Some(SkipReason::OtherMesh { mesh })
}

/// But for one, the standards allow none of netting-init's capabilities.
fn pod_security(namespace: Namespace<'_>, options: &Options) -> Option<SkipReason> {
    match options.pod_security.enforced(&namespace) {
        Standard::Privileged => None,
        standard @ (Standard::Baseline | Standard::Restricted) => {
            let level = standard.as_str();
            Some(SkipReason::PodSecurity { level })
        }
    }
}

/// The kubelet gives such files to the uid that all containers run as, whatever the
/// volume's mode is, and to root and that mode if there are several
/// (kubernetes/kubernetes, `FsUserFrom` in `pkg/volume/util/util.go`). With a sidecar there
/// are. With an `fsGroup` they are that group's in any case.
fn projected_mode(pod: &Pod<'_>) -> Option<SkipReason> {
    let group = pod
        .spec("securityContext")
        .and_then(|own| own.get("fsGroup"));
    if group.is_some_and(|group| !group.is_null()) {
        return None;
    }
    let mut users = pod.all_containers().map(|c| pod.run_as_user(c));
    let user = users.next()??;
    if user == 0 || users.any(|other| other != Some(user)) {
        return None;
    }
    let mode = pod.volumes().iter().find_map(private_mode)?;
    Some(SkipReason::ProjectedMode { mode })
}

/// The mode of what is made for the pod's identity, if it keeps others from reading.
fn private_mode(volume: &Value) -> Option<u64> {
    const SOURCES: [&str; 3] = [
        "serviceAccountToken",
        "clusterTrustBundle",
        "podCertificate",
    ];
    const OTHERS_READ: u64 = 0o004;
    let projected = volume.get("projected")?;
    let sources = projected.get("sources")?.as_array()?;
    let is_identity = |source: &Value| SOURCES.iter().any(|kind| source[*kind].is_object());
    let mode = projected.get("defaultMode")?.as_u64()?;
    (mode & OTHERS_READ == 0 && sources.iter().any(is_identity)).then_some(mode)
}

fn ports_taken(pod: &Pod<'_>) -> impl Iterator<Item = SkipReason> {
    let declared: Vec<_> = pod.all_containers().flat_map(|c| c.tcp_ports()).collect();
    [names::OUTBOUND_PORT, names::INBOUND_PORT, names::ADMIN_PORT]
        .into_iter()
        .filter(move |port| declared.contains(port))
        .map(|port| SkipReason::PortTaken { port })
}
