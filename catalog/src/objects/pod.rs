//! Meshed Pods.

use std::{net::IpAddr, sync::Arc};

use super::{Born, Key, Parsed, Reason, Refusal, address};

mod owner;
pub mod watched;

pub use owner::Owner;
use watched::{Container, Spec, Watched};

/// What the webhook labels each pod with that it injects.
pub const INJECTED: &str = "netting.dev/injected";
/// The sidecar's container.
const SIDECAR: &str = "netting-sidecar";
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
    /// What it belongs to.
    pub owner: Owner,
    /// Its node; empty until it is scheduled.
    pub node: Arc<str>,
    /// Its zone; empty if not known.
    pub zone: Arc<str>,
    /// Its application has ended for good, and a classic sidecar still runs.
    pub application_ended: bool,
}

/// Parses a pod. Nothing is indexed of a pod that isn't meshed, nor of one that
/// has ended: it keeps its `podIP`, which is free for the next pod by then.
#[must_use]
pub fn parse(pod: &Watched) -> Parsed<Pod> {
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
            if !has_sidecar(spec) {
                // Labels are copied from pod to template by whoever likes to.
                refused.push(Reason::NoSidecar.of(&key));
                return None;
            }
            Some(Pod {
                key: key.clone(),
                born: born(pod),
                ips: ips(pod, &mut refused),
                service_account: text(spec.service_account_name.as_ref()),
                owner: Owner::of(&pod.metadata),
                node: text(spec.node_name.as_ref()),
                zone: text(label(pod, ZONE)),
                application_ended: application_ended(pod, spec),
            })
        });
    Parsed {
        key,
        object,
        refused,
    }
}

fn born(pod: &Watched) -> Born {
    let born = Born::of(&pod.metadata);
    let started = pod.status.as_ref().and_then(|s| s.start_time.as_ref());
    Born {
        at_seconds: started.map_or(born.at_seconds, |time| time.0.as_second()),
        ..born
    }
}

fn has_sidecar(spec: &Spec) -> bool {
    let native = spec.init_containers.iter().flatten();
    let mut all = native.chain(spec.containers.iter().flatten());
    all.any(|container| container.name == SIDECAR)
}

fn is_injected(pod: &Watched) -> bool {
    label(pod, INJECTED).is_some_and(|value| value == "true")
}

fn has_ended(pod: &Watched) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether nothing but a classic sidecar runs in the pod, nor will again. Only of a
/// pod that is meant to end: one that restarts its containers always waits for them.
fn application_ended(pod: &Watched, spec: &Spec) -> bool {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_deref());
    let statuses = statuses.unwrap_or_default();
    let (sidecars, application): (Vec<_>, Vec<_>) = spec
        .containers
        .iter()
        .flatten()
        .partition(|container| container.name == SIDECAR);
    let ended = |container: &&Container| {
        let policy = container.restart_policy.as_ref();
        let policy = policy.or(spec.restart_policy.as_ref()).map(String::as_str);
        let status = statuses.iter().find(|s| s.name == container.name);
        let terminated = status
            .and_then(|status| status.state.as_ref())
            .and_then(|state| state.terminated.as_ref());
        let Some(exit_code) = terminated.map(|terminated| terminated.exit_code) else {
            return false;
        };
        let mut rules = container.restart_policy_rules.iter().flatten();
        if rules.any(|rule| rule.matches(exit_code)) {
            return false;
        }
        match policy {
            Some("Never") => true,
            Some("OnFailure") => exit_code == 0,
            _ => false,
        }
    };
    !sidecars.is_empty() && application.iter().all(ended)
}

fn ips(pod: &Watched, refused: &mut Vec<Refusal>) -> Vec<IpAddr> {
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

fn label<'a>(pod: &'a Watched, name: &str) -> Option<&'a String> {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(name))
}

fn text(value: Option<&String>) -> Arc<str> {
    value.map(String::as_str).unwrap_or_default().into()
}
