//! Meshed Pods.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1 as api;

use super::{Born, Key, Parsed, Reason, Refusal, address};

/// What the webhook labels each pod with that it injects.
pub const INJECTED: &str = "netting.dev/injected";
/// Kubernetes copies this label from the node to the pod since 1.35.
const ZONE: &str = "topology.kubernetes.io/zone";

/// A pod that carries a Netting sidecar and may have connections made to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Its namespace and name.
    pub key: Key,
    /// To tell which of two pods holds an IP.
    pub born: Born,
    /// Its IPs; none until its network is set up.
    pub ips: Vec<IpAddr>,
    /// Its service account.
    pub service_account: Arc<str>,
    /// Its node; empty until it is scheduled.
    pub node: Arc<str>,
    /// Its zone; empty if not known.
    pub zone: Arc<str>,
}

/// Parses a pod. Nothing is indexed of a pod that isn't meshed, nor of one that
/// has ended: it keeps its `podIP`, which is free for the next pod by then.
#[must_use]
pub fn parse(pod: &api::Pod) -> Parsed<Pod> {
    let key = Key::of(&pod.metadata);
    let mut refused = Vec::new();
    let object = pod
        .spec
        .as_ref()
        .filter(|_| is_injected(pod) && !has_ended(pod))
        .and_then(|spec| {
            if spec.host_network == Some(true) {
                // Its IP is its node's, which it shares with others.
                refused.push(Reason::HostNetwork.of(&key));
                return None;
            }
            Some(Pod {
                key: key.clone(),
                born: Born::of(&pod.metadata),
                ips: ips(pod, &mut refused),
                service_account: text(spec.service_account_name.as_ref()),
                node: text(spec.node_name.as_ref()),
                zone: text(label(pod, ZONE)),
            })
        });
    Parsed {
        key,
        object,
        refused,
    }
}

fn is_injected(pod: &api::Pod) -> bool {
    label(pod, INJECTED).is_some_and(|value| value == "true")
}

fn has_ended(pod: &api::Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn ips(pod: &api::Pod, refused: &mut Vec<Refusal>) -> Vec<IpAddr> {
    let Some(status) = pod.status.as_ref() else {
        return Vec::new();
    };
    let all: Vec<&String> = match status.pod_ips.as_deref() {
        Some(all) if !all.is_empty() => all.iter().map(|pod_ip| &pod_ip.ip).collect(),
        _ => status.pod_ip.iter().collect(),
    };
    let mut ips = Vec::new();
    for text in all.into_iter().filter(|text| !text.is_empty()) {
        match address::unicast(text) {
            Ok(ip) if ips.contains(&ip) => {}
            Ok(ip) => ips.push(ip),
            Err(reason) => refused.push(reason.of(text)),
        }
    }
    ips
}

fn label<'a>(pod: &'a api::Pod, name: &str) -> Option<&'a String> {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(name))
}

fn text(value: Option<&String>) -> Arc<str> {
    value.map(String::as_str).unwrap_or_default().into()
}
