//! Whether the cluster can have a mesh.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use netting_webhook::api_version::{self, Release};

use super::{Code, Facts, Finding, Unknown, facts::Right, finding::counted, pods};
use crate::cluster::Version;

/// The first whose webhook configurations have match conditions without a feature gate.
const MATCH_CONDITIONS: (u32, u32) = (1, 28);
/// The oldest kernel that Kubernetes itself supports.
/// <https://kubernetes.io/docs/reference/node/kernel-version-requirements/>
const OLDEST_KERNEL: (u32, u32) = (4, 19);
/// What the image is built for.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![version(facts)];
    findings.extend(admission(facts));
    match &facts.missing_rights {
        Ok(missing) => findings.extend(rights(missing)),
        Err(unknown) => findings.push(not_asked(unknown)),
    }
    match &facts.nodes {
        Ok(listed) => {
            findings.extend(nodes(listed));
            findings.extend(kubelets(facts, listed));
        }
        Err(unknown) => findings.push(not_asked(unknown)),
    }
    findings
}

/// Whether pods can have native sidecars, as the webhook finds it out, as far as it is known.
pub(super) fn native_sidecars(facts: &Facts) -> bool {
    let nodes = facts.nodes.as_deref().unwrap_or_default();
    api_version::native_sidecars(facts.version.release, nodes)
}

/// What old kubelets mean for sidecars; nothing before the API server has native ones.
fn kubelets(facts: &Facts, nodes: &[Node]) -> Option<Finding> {
    let release = facts.version.release;
    if !release.is_some_and(Release::has_native_sidecars) {
        return None;
    }
    let mut old = api_version::old_kubelets(nodes);
    let node = old.next()?;
    let info = node.status.as_ref()?.node_info.as_ref()?;
    let version = &info.kubelet_version;
    let others = match old.count() {
        0 => String::new(),
        count => format!(", and {} like it", counted(count, "node")),
    };
    let subject = format!("node/{}", node.name_any());
    Some(if pods::injects_native_sidecars(facts) {
        Code::KubeletOld.finding(
            subject,
            format!("has kubelet {version}{others}: it knows no native sidecars, and pods with one do not start there"),
            "upgrade the kubelets to 1.29 or later, or netting upgrade --webhook-set sidecar-mode=classic until then",
        )
    } else {
        let message = format!(
            "has kubelet {version}{others}: sidecars are classic ones while one is older than 1.29"
        );
        Code::VersionOld.told(subject, message)
    })
}

fn version(facts: &Facts) -> Finding {
    let version = &facts.version;
    let before = |(major, minor): (u32, u32)| version.is_before(major, minor);
    let Some(release) = version.release else {
        let message = format!(
            "the API server's version can't be read ({version}); sidecars are classic ones"
        );
        let advice = "if it is 1.29 or later: netting upgrade --webhook-set sidecar-mode=native";
        return Code::VersionOld.finding("", message, advice);
    };
    if before(Version::OLDEST) {
        let (major, minor) = Version::OLDEST;
        let message = format!(
            "Kubernetes {version} lacks what Netting needs: discovery.k8s.io/v1 EndpointSlices, \
             server-side apply, the label of namespaces' names"
        );
        let advice = format!("upgrade to {major}.{minor} or later, better 1.29");
        return Code::VersionTooOld.finding("", message, advice);
    }
    if before(MATCH_CONDITIONS) {
        let message = format!(
            "Kubernetes {version} has neither match conditions nor native sidecars; \
             the webhook is asked about mirror pods too, and sidecars are classic ones"
        );
        return Code::VersionOld.told("", message);
    }
    if !release.has_native_sidecars() {
        let message =
            format!("Kubernetes {version} has no native sidecars; sidecars are classic ones");
        return Code::VersionOld.told("", message);
    }
    Code::VersionGood.told("", format!("Kubernetes {version}"))
}

fn admission(facts: &Facts) -> Option<Finding> {
    match &facts.admission {
        Ok(true) => {
            Some(Code::AdmissionGood.told("", "the API server takes mutating admission webhooks"))
        }
        Ok(false) => Some(Code::AdmissionMissing.finding(
            "",
            "the API server does not serve admissionregistration.k8s.io/v1 webhook configurations",
            "enable the admission plugin MutatingAdmissionWebhook, or use `netting inject` on manifests",
        )),
        Err(unknown) => Some(not_asked(unknown)),
    }
}

fn rights(missing: &[Right]) -> Vec<Finding> {
    if missing.is_empty() {
        let told = "you may install Netting, and look at its pods";
        return vec![Code::RightsGood.told("", told)];
    }
    let lacks = missing.iter().map(|right| {
        let Right { action, purpose } = right;
        let message = format!("you may not {action}");
        let advice =
            format!("{purpose} needs it: ask for a role that may, or use another --context");
        Code::RightMissing.finding("", message, advice)
    });
    lacks.collect()
}

fn nodes(nodes: &[Node]) -> Vec<Finding> {
    let unfit: Vec<Finding> = nodes.iter().filter_map(unfit).collect();
    if !unfit.is_empty() || nodes.is_empty() {
        return unfit;
    }
    let told = format!("{} can run sidecars", counted(nodes.len(), "node"));
    vec![Code::NodesGood.told("", told)]
}

fn unfit(node: &Node) -> Option<Finding> {
    let info = node.status.as_ref()?.node_info.as_ref()?;
    let finding = |message: String, advice: &str| {
        let subject = format!("node/{}", node.name_any());
        Some(Code::NodeUnfit.finding(subject, message, advice))
    };
    if info.operating_system == "windows" {
        return finding(
            "runs Windows, where pods get no sidecar".to_owned(),
            "keep meshed pods away from it by nodeSelector kubernetes.io/os: linux",
        );
    }
    if !info.architecture.is_empty() && !ARCHITECTURES.contains(&info.architecture.as_str()) {
        let message = format!("is of {}, for which there is no image", info.architecture);
        let advice =
            "build one for it, or keep meshed pods away by nodeSelector kubernetes.io/arch";
        return finding(message, advice);
    }
    let kernel = info.kernel_version.as_str();
    if kernel_version(kernel).is_some_and(|version| version < OLDEST_KERNEL) {
        let message = format!("has kernel {kernel}, older than any that Kubernetes supports");
        return finding(message, "upgrade the kernel to 4.19 or later");
    }
    None
}

/// `5.15.0-91-generic` is 5.15.
fn kernel_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn not_asked(unknown: &Unknown) -> Finding {
    unknown.told(Code::ClusterUnknown, "")
}
