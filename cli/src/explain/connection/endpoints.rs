//! Which of a destination's endpoints are chosen from, and which are not.

use crate::{
    explain::{Explanation, Mark},
    sidecar::{Config, Destination, Endpoint},
};

/// Tells of each endpoint, and of what prefers some of them. Returns how many may be
/// used now.
pub(super) fn steps(explanation: &mut Explanation, config: &Config, held: &Destination) -> usize {
    preference(explanation, config, held);
    for endpoint in &held.endpoints {
        let (mark, state) = state(held, endpoint);
        let mut says = endpoint.address.clone();
        if !endpoint.pod.is_empty() {
            says += &format!(" {}", endpoint.pod);
        }
        if !endpoint.zone.is_empty() {
            says += &format!(" in zone {}", endpoint.zone);
        }
        says += &format!(": {state}");
        if let Some(millis) = endpoint.response_ms.or(endpoint.connect_ms) {
            let what = endpoint.response_ms.map_or("connects", |_| "answers");
            says += &format!(", {what} in {millis:.1} ms");
        }
        if endpoint.connect_failures_total > 0 {
            says += &format!(", {} failed connects", endpoint.connect_failures_total);
        }
        explanation.step(mark, "endpoint", says);
    }
    let usable = held.endpoints.iter().filter(|one| one.is_used());
    let (out, well): (Vec<_>, Vec<_>) = usable.partition(|one| one.ejected_for_ms.is_some());
    // If all are out, any may have recovered.
    if well.is_empty() {
        out.len()
    } else {
        well.len()
    }
}

fn preference(explanation: &mut Explanation, config: &Config, held: &Destination) {
    let own = match (config.zone.as_str(), config.node.as_str()) {
        ("", node) => format!("the pod is on node {node}, in no zone that is known"),
        (zone, node) => format!("the pod is on node {node} in zone {zone}"),
    };
    let hinted = held
        .endpoints
        .iter()
        .any(|one| !one.for_zones.is_empty() || !one.for_nodes.is_empty());
    let prefers = match held.prefer.as_str() {
        _ if held.node_local => {
            "only endpoints on its node are used (internalTrafficPolicy: Local)"
        }
        _ if hinted => "the EndpointSlices' hints prefer those meant for it",
        "same_zone" => "endpoints in its zone are preferred (trafficDistribution)",
        "same_node" => {
            "endpoints on its node, then in its zone, are preferred (trafficDistribution)"
        }
        _ => "none is preferred",
    };
    explanation.step(Mark::Plain, "preference", format!("{own}; {prefers}"));
    if let Some(seconds) = held.session_affinity_seconds {
        let says = format!("sessionAffinity keeps the pod at one endpoint for {seconds} s");
        explanation.step(Mark::Plain, "affinity", says);
    }
}

fn state(held: &Destination, endpoint: &Endpoint) -> (Mark, String) {
    if let Some(millis) = endpoint.ejected_for_ms {
        return (
            Mark::Bad,
            format!("ejected for {:.1} s more", millis as f64 / 1000.0),
        );
    }
    if endpoint.is_used() {
        let preferred = endpoint.standing == "preferred";
        let how = match (preferred, endpoint.terminating) {
            (true, _) => "ready, preferred",
            (false, true) => "terminating, and used since none is ready",
            (false, false) => "ready",
        };
        return (Mark::Good, how.to_owned());
    }
    let why = match endpoint {
        one if one.terminating => "terminating",
        one if !one.ready => "not ready",
        _ if held.node_local => "on another node",
        _ => "not used",
    };
    (Mark::Warning, why.to_owned())
}
