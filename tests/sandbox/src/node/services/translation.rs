//! Which address and port leads where, from Services and their slices.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt as _;

use crate::node::cluster::{Cluster, is_ready, is_serving_while_terminating};

/// A Service's address and port, and where connections to it go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Translation {
    pub(super) addr: SocketAddr,
    /// `tcp` or `udp`.
    pub(super) protocol: &'static str,
    /// Namespace, name and port of the Service, for the rules' comments.
    pub(super) name: String,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// To one of these, by chance.
    Endpoints(BTreeSet<SocketAddr>),
    /// There are no endpoints at all, and the rule for the whole address refuses.
    Refuse,
    /// There are endpoints, but none on this node and the Service wants no others.
    Drop,
}

/// Every port of every ClusterIP. Headless and external Services have none; garbage in an address
/// makes that address not exist.
pub(super) fn translations(cluster: &Cluster, node: &str) -> Vec<Translation> {
    let mut all = Vec::new();
    for ((namespace, name), service) in &cluster.services {
        let slices: Vec<&EndpointSlice> = cluster.slices_of(namespace, name).collect();
        for addr in cluster_ips(service) {
            for port in service
                .spec
                .iter()
                .flat_map(|spec| spec.ports.iter().flatten())
            {
                let (Some(protocol), Ok(number)) = (protocol(port), u16::try_from(port.port))
                else {
                    continue;
                };
                all.push(Translation {
                    addr: SocketAddr::new(addr, number),
                    protocol,
                    name: format!("{namespace}/{}:{number}", service.name_any()),
                    outcome: outcome(service, port, addr, &slices, node),
                });
            }
        }
    }
    all
}

/// The addresses of a Service that has its own, of both families.
pub(crate) fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    // The API server keeps clusterIPs; objects from before dual stack have clusterIP only.
    let listed = spec.cluster_ips.iter().flatten();
    let single = spec
        .cluster_ip
        .iter()
        .filter(|_| spec.cluster_ips.is_none());
    listed
        .chain(single)
        .filter_map(|addr| addr.parse().ok())
        .collect()
}

fn protocol(port: &ServicePort) -> Option<&'static str> {
    match port.protocol.as_deref().unwrap_or("TCP") {
        "TCP" => Some("tcp"),
        "UDP" => Some("udp"),
        _ => None,
    }
}

fn outcome(
    service: &Service,
    port: &ServicePort,
    addr: IpAddr,
    slices: &[&EndpointSlice],
    node: &str,
) -> Outcome {
    let all: Vec<(&Endpoint, SocketAddr)> = slices
        .iter()
        .flat_map(|slice| endpoints(slice, port, addr))
        .collect();
    let local_only = service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.internal_traffic_policy.as_deref() == Some("Local"));
    let here = |endpoint: &Endpoint| !local_only || endpoint.node_name.as_deref() == Some(node);
    let choose = |usable: fn(&Endpoint) -> bool| -> BTreeSet<SocketAddr> {
        let usable = all
            .iter()
            .filter(|(endpoint, _)| usable(endpoint) && here(endpoint));
        usable.map(|(_, addr)| *addr).collect()
    };
    let mut chosen = choose(is_ready);
    if chosen.is_empty() {
        chosen = choose(is_serving_while_terminating);
    }
    let usable_elsewhere = || {
        all.iter()
            .any(|(endpoint, _)| is_ready(endpoint) || is_serving_while_terminating(endpoint))
    };
    match chosen.is_empty() {
        false => Outcome::Endpoints(chosen),
        true if local_only && usable_elsewhere() => Outcome::Drop,
        true => Outcome::Refuse,
    }
}

/// A slice's endpoints of the Service address' family, at the port of the Service port's name.
fn endpoints<'a>(
    slice: &'a EndpointSlice,
    port: &ServicePort,
    service: IpAddr,
) -> Vec<(&'a Endpoint, SocketAddr)> {
    let name = port.name.as_deref().unwrap_or_default();
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = slice
        .ports
        .iter()
        .flatten()
        .find(|port| {
            port.name.as_deref().unwrap_or_default() == name
                && port.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .and_then(|port| u16::try_from(port.port?).ok());
    let Some(number) = number else {
        return Vec::new();
    };
    slice
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().map(move |addr| (endpoint, addr)))
        .filter_map(|(endpoint, addr)| Some((endpoint, addr.parse::<IpAddr>().ok()?)))
        .filter(|(_, addr)| addr.is_ipv4() == service.is_ipv4())
        .map(|(endpoint, addr)| (endpoint, SocketAddr::new(addr, number)))
        .collect()
}

#[cfg(test)]
mod tests;
