//! Where a connection of a pod goes, and why: what the rules of the pod, its sidecar
//! and the catalog make of it, in this order.

mod endpoints;
mod known;

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use netting_webhook::names::{ADMIN_PORT, INBOUND_PORT, OUTBOUND_PORT};

use super::{Explanation, Mark, redirect::Redirect};
use crate::{
    queries::Instance,
    sidecar::{Config, Destination},
};

pub use known::{Known, Owner, reasons};

/// Says where, and why.
#[must_use]
pub fn explain(known: &Known<'_>) -> Explanation {
    let Known { pod, target, .. } = known;
    let from = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    let mut explanation = Explanation::new(format!("connection from {from} to {}", known.asked_as));
    name(&mut explanation, known);
    owner(&mut explanation, known);
    if let Some(why) = known.not_injected {
        explanation.step(Mark::Warning, "pod", format!("has no sidecar ({why})"));
        let verdict = format!("the node sends it to {target} as it would without Netting");
        return explanation.so("no_sidecar", verdict);
    }
    explanation.step(Mark::Good, "pod", "has a sidecar");
    let redirect = Redirect::of(pod);
    if let Some((reason, why)) = redirect.skips(*target) {
        explanation.step(Mark::Warning, "rules", why);
        let verdict = format!("it never gets to the sidecar, and goes to {target} directly");
        return explanation.so(reason, verdict);
    }
    explanation.step(
        Mark::Good,
        "rules",
        format!("redirect it to the sidecar, port {OUTBOUND_PORT}"),
    );
    if is_own(pod, *target) {
        return own_address(explanation, *target);
    }
    let config = match known.config {
        Ok(config) => config,
        Err(why) => {
            explanation.step(
                Mark::Bad,
                "sidecar",
                format!("does not say what it holds: {why}"),
            );
            return by_catalog(explanation, known, "sidecar_silent");
        }
    };
    stream(&mut explanation, config);
    protocol(&mut explanation, &redirect, known, config);
    match config.destination(&target.to_string()) {
        Some(destination) => by_sidecar(explanation, known, config, destination),
        None if config.catalog.connected => {
            explanation.step(
                Mark::Plain,
                "sidecar",
                "has not been asked for this address lately",
            );
            by_catalog(explanation, known, "not_used_lately")
        }
        None => passed_through(explanation, *target, reasons::CATALOG_UNAVAILABLE),
    }
}

/// A client chooses among the addresses of a headless service by itself.
fn name(explanation: &mut Explanation, known: &Known<'_>) {
    if known.of_addresses > 1 {
        let says = format!(
            "has {} addresses in DNS, of which the client takes one; here it takes the first",
            known.of_addresses
        );
        explanation.step(Mark::Plain, "name", says);
    }
}

fn owner(explanation: &mut Explanation, known: &Known<'_>) {
    let target = known.target;
    let (mark, says) = match known.owner {
        Owner::Service {
            namespace,
            name,
            port: Some(_),
            ..
        } => (
            Mark::Good,
            format!("{target} is service {namespace}/{name}"),
        ),
        Owner::Service {
            namespace,
            name,
            port: None,
            ..
        } => (
            Mark::Bad,
            format!(
                "service {namespace}/{name} has no TCP port {}",
                target.port()
            ),
        ),
        Owner::Pod {
            namespace,
            name,
            meshed,
        } => {
            let with = if *meshed { "with" } else { "without" };
            (
                Mark::Good,
                format!("{target} is pod {namespace}/{name}, {with} a sidecar"),
            )
        }
        Owner::Nobody => (
            Mark::Plain,
            format!("no service and no pod has {}", target.ip()),
        ),
    };
    explanation.step(mark, "address", says);
}

/// Whether it is one of the pod's own addresses.
fn is_own(pod: &Pod, target: SocketAddr) -> bool {
    let ips = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ips.as_ref());
    let mut ips = ips
        .into_iter()
        .flatten()
        .filter_map(|own| own.ip.parse().ok());
    ips.any(|own: std::net::IpAddr| own == target.ip())
}

fn own_address(mut explanation: Explanation, target: SocketAddr) -> Explanation {
    explanation.step(Mark::Plain, "address", "is the pod's own");
    if [OUTBOUND_PORT, INBOUND_PORT, ADMIN_PORT].contains(&target.port()) {
        let verdict = "the sidecar refuses it: it would come back to the sidecar";
        return explanation.so(reasons::OWN_PORT, verdict);
    }
    passed_through(explanation, target, reasons::OWN_ADDRESS)
}

fn passed_through(explanation: Explanation, target: SocketAddr, reason: &str) -> Explanation {
    let verdict = format!("the sidecar passes it through to {target}, its original destination");
    explanation.so(reason, verdict)
}

fn stream(explanation: &mut Explanation, config: &Config) {
    let address = &config.catalog.address;
    if config.catalog.connected {
        let seconds = config.catalog.connected_seconds.unwrap_or_default();
        explanation.step(
            Mark::Good,
            "catalog",
            format!("stream to {address} for {seconds} s"),
        );
    } else {
        let says = format!("no stream to {address}: what is known stays, the rest passes through");
        explanation.step(Mark::Warning, "catalog", says);
    }
}

/// What the sidecar takes the bytes for.
fn protocol(
    explanation: &mut Explanation,
    redirect: &Redirect,
    known: &Known<'_>,
    config: &Config,
) {
    let port = known.target.port();
    let held = config.destination(&known.target.to_string());
    let hint = held.map_or("", |held| held.protocol_hint.as_str());
    let (mark, says) = match held.and_then(|held| held.hint.as_deref()) {
        _ if redirect.is_opaque(port) => (
            Mark::Warning,
            format!("port {port} is in opaque-ports: bytes are passed on unseen"),
        ),
        Some("opaque") => (Mark::Plain, format!("{hint}: bytes are passed on unseen")),
        Some(_) => (
            Mark::Plain,
            format!("{hint}: the client speaks first, and says which it is"),
        ),
        None => (Mark::Plain, "no hint: the first bytes decide".to_owned()),
    };
    explanation.step(mark, "protocol", says);
}

/// What the sidecar holds decides.
fn by_sidecar(
    mut explanation: Explanation,
    known: &Known<'_>,
    config: &Config,
    held: &Destination,
) -> Explanation {
    match held.kind.as_str() {
        "unknown" => {
            explanation.step(
                Mark::Plain,
                "sidecar",
                "the catalog told it that nobody has this address",
            );
            return passed_through(explanation, known.target, reasons::UNKNOWN_ADDRESS);
        }
        "waiting" => {
            let says = "the catalog has not answered about this address";
            explanation.step(Mark::Warning, "sidecar", says);
            let reason = if config.catalog.connected {
                reasons::CATALOG_SILENT
            } else {
                reasons::CATALOG_UNAVAILABLE
            };
            return passed_through(explanation, known.target, reason);
        }
        kind => explanation.step(
            Mark::Good,
            "sidecar",
            format!("holds it as {kind} {}", held.title()),
        ),
    }
    let usable = endpoints::steps(&mut explanation, config, held);
    if usable == 0 {
        explanation.step(Mark::Bad, "endpoints", "none may be used");
        return passed_through(explanation, known.target, reasons::NO_ENDPOINTS);
    }
    let redirect = Redirect::of(known.pod);
    let opaque = held.hint.as_deref() == Some("opaque") || redirect.is_opaque(known.target.port());
    let unit = if opaque {
        "connection"
    } else {
        "request, or for the connection if it is not HTTP"
    };
    let verdict = match usable {
        1 => "it goes to the one endpoint that may be used".to_owned(),
        count => format!(
            "of {count} endpoints one is chosen for each {unit}: of two random ones the less loaded"
        ),
    };
    explanation.so("balanced", verdict)
}

/// The sidecar holds nothing of it: what the catalog would tell it decides.
fn by_catalog(mut explanation: Explanation, known: &Known<'_>, reason: &str) -> Explanation {
    let target = known.target;
    match (known.owner, known.catalog) {
        (
            Owner::Service {
                port: Some(port),
                node_local,
                ..
            },
            Some(instances),
        ) => {
            let mut of_port: Vec<&Instance> = of_port(instances, port, target).collect();
            if *node_local {
                let node = node_of(known.pod);
                of_port.retain(|one| !node.is_empty() && one.node.node == node);
                let says = format!(
                    "the pod is on node {node}; only endpoints on its node are used (internalTrafficPolicy: Local)"
                );
                explanation.step(Mark::Plain, "preference", says);
            }
            balanced_by_catalog(explanation, target, &of_port, reason)
        }
        (Owner::Pod { .. }, _) => explanation.so(reason, "it would go to that pod"),
        (Owner::Service { port: Some(_), .. }, None) => {
            explanation.step(Mark::Warning, "catalog", "could not be asked");
            explanation.so(
                reason,
                "it is the catalog's to say, which could not be asked",
            )
        }
        _ => passed_through(explanation, target, reasons::UNKNOWN_ADDRESS),
    }
}

/// What a service's address stands for: its endpoints of that port and that family, each of
/// which the catalog has an instance for.
fn of_port<'a>(
    instances: &'a [Instance],
    port: &str,
    target: SocketAddr,
) -> impl Iterator<Item = &'a Instance> {
    instances.iter().filter(move |one| {
        let address = one.service.address.parse::<IpAddr>();
        one.port_name() == port && address.is_ok_and(|ip| ip.is_ipv4() == target.is_ipv4())
    })
}

fn node_of(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

fn balanced_by_catalog(
    mut explanation: Explanation,
    target: SocketAddr,
    all: &[&Instance],
    reason: &str,
) -> Explanation {
    let ready = all.iter().filter(|one| one.is_ready()).count();
    let says = format!("knows {} endpoints, {ready} of them ready", all.len());
    explanation.step(Mark::Plain, "catalog", says);
    let serving = all.iter().filter(|one| one.is_serving_still()).count();
    let verdict = match (ready, serving) {
        (0, 0) => return passed_through(explanation, target, reasons::NO_ENDPOINTS),
        (0, serving) => format!(
            "none is ready: it would be balanced over the {serving} that serve while they terminate"
        ),
        (ready, _) => format!("it would be balanced over {ready} endpoints"),
    };
    explanation.so(reason, verdict)
}
