//! What is behind a service, and how it is treated.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;

use super::{Explanation, Mark};
use crate::queries::Instance;

/// What is known of the service.
#[derive(Debug)]
pub struct Known<'a> {
    /// The service, as the API server has it.
    pub service: &'a Service,
    /// Its endpoints, as the catalog has them, or why it could not be asked.
    pub instances: Result<&'a [Instance], &'a str>,
    /// How many pods its selector matches; `None` if it has no selector, or they
    /// could not be listed.
    pub selected: Option<usize>,
}

/// The name that a service stands for, if it is but an alias of DNS.
#[must_use]
pub fn alias_of(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref()?;
    let is_alias = spec.type_.as_deref() == Some("ExternalName");
    is_alias.then(|| spec.external_name.as_deref().unwrap_or_default())
}

/// Says what such an alias is: the catalog has nothing of it, and nobody connects to it.
#[must_use]
pub fn alias(service: &Service) -> Option<Explanation> {
    let alias = alias_of(service)?;
    let mut explanation = about(service);
    let says = format!("ExternalName: DNS answers with {alias}");
    explanation.step(Mark::Plain, "address", says);
    let verdict = format!(
        "it has neither address nor endpoints: connections go to an address of {alias}, and are treated as that is"
    );
    Some(explanation.so("external_name", verdict))
}

fn about(service: &Service) -> Explanation {
    let namespace = service.namespace().unwrap_or_default();
    Explanation::new(format!("service {namespace}/{}", service.name_any()))
}

/// Says what, and why.
#[must_use]
pub fn explain(known: &Known<'_>) -> Explanation {
    let service = known.service;
    let mut explanation = about(service);
    addresses(&mut explanation, service);
    let node_local = is_node_local(service);
    if node_local {
        let says =
            "each client's endpoints are those on its own node (internalTrafficPolicy: Local)";
        explanation.step(Mark::Warning, "preference", says);
    }
    match known.selected {
        Some(0) => explanation.step(Mark::Bad, "selector", "matches no pod"),
        Some(count) => explanation.step(Mark::Good, "selector", format!("matches {count} pods")),
        None => explanation.step(
            Mark::Plain,
            "selector",
            "has none: others say its endpoints",
        ),
    }
    let instances = match known.instances {
        Ok(instances) => instances,
        Err(why) => {
            explanation.step(Mark::Bad, "catalog", format!("could not be asked: {why}"));
            return explanation.so("catalog_silent", "sidecars go by what they know of it");
        }
    };
    treatment(&mut explanation, instances);
    for one in instances {
        endpoint(&mut explanation, one);
    }
    let all = instances.iter();
    let ready = count(all.clone().filter(|one| one.is_ready()));
    let serving = count(all.clone().filter(|one| one.is_serving_still()));
    let meshed = count(all.clone().filter(|one| one.meta("meshed") == "true"));
    match (ready, serving) {
        (0, 0) => {
            let verdict = "no endpoint is ready: connections pass through to the service's address, and fail as they would without Netting";
            explanation.so("no_endpoints", verdict)
        }
        (0, serving) => {
            let verdict =
                format!("none is ready; the {serving} that serve while they terminate are used");
            explanation.so("terminating_endpoints", verdict)
        }
        (ready, _) => {
            let which = if node_local {
                ", those on the client's node"
            } else {
                ""
            };
            let verdict = format!(
                "requests are balanced over {ready} ready endpoints{which}; {meshed} of all {} have a sidecar",
                count(all)
            );
            explanation.so("balanced", verdict)
        }
    }
}

/// Whether connections to it stay on their node.
#[must_use]
pub fn is_node_local(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.internal_traffic_policy.as_deref()) == Some("Local")
}

/// How many endpoints these are. The catalog has an instance of each for each of its ports,
/// and for each of its addresses.
fn count<'a>(instances: impl Iterator<Item = &'a Instance>) -> usize {
    let names = instances.map(|one| match one.meta("pod") {
        "" => one.service.address.as_str(),
        pod => pod,
    });
    names.collect::<BTreeSet<_>>().len()
}

fn addresses(explanation: &mut Explanation, service: &Service) {
    let spec = service.spec.clone().unwrap_or_default();
    let kind = spec.type_.unwrap_or_else(|| "ClusterIP".to_owned());
    let ips = spec.cluster_ips.unwrap_or_default();
    let says = match ips.first().map(String::as_str) {
        Some("None") => "headless: clients connect to its pods' own addresses".to_owned(),
        Some(_) => format!("{kind} {}", ips.join(", ")),
        None => format!("{kind} without an address"),
    };
    explanation.step(Mark::Plain, "address", says);
    for port in spec.ports.into_iter().flatten() {
        let name = port.name.unwrap_or_else(|| "unnamed".to_owned());
        let hint = match &port.app_protocol {
            Some(protocol) => format!("appProtocol {protocol}"),
            None => "no appProtocol; its name may tell, else the first bytes".to_owned(),
        };
        let protocol = port.protocol.unwrap_or_else(|| "TCP".to_owned());
        let mark = if protocol == "TCP" {
            Mark::Plain
        } else {
            Mark::Warning
        };
        let proxied = if protocol == "TCP" {
            ""
        } else {
            " (not proxied)"
        };
        let says = format!("{name} {protocol} {}{proxied}: {hint}", port.port);
        explanation.step(mark, "port", says);
    }
}

/// What its annotations say, and what is wrong with them: the catalog tells it with
/// each endpoint alike.
fn treatment(explanation: &mut Explanation, instances: &[Instance]) {
    let Some(first) = instances.first() else {
        return;
    };
    if !first.meta("policy").is_empty() {
        explanation.step(Mark::Plain, "policy", first.meta("policy"));
    }
    let ignored = first.meta("ignored-annotations");
    for complaint in ignored
        .split("; ")
        .filter(|complaint| !complaint.is_empty())
    {
        explanation.step(Mark::Warning, "annotation", complaint);
    }
}

fn endpoint(explanation: &mut Explanation, one: &Instance) {
    let mark = match one {
        one if one.is_ready() => Mark::Good,
        one if one.is_serving_still() => Mark::Warning,
        _ => Mark::Bad,
    };
    let sidecar = match one.meta("meshed") {
        "true" => ", with a sidecar",
        "false" => ", without a sidecar",
        _ => "",
    };
    let zone = match one.meta("zone") {
        "" => String::new(),
        zone => format!(" in zone {zone}"),
    };
    let service = &one.service;
    let says = format!("{}{zone}: {}{sidecar}", service.id, one.readiness());
    explanation.step(mark, "endpoint", says);
}
