//! Services.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1 as api;

use super::{Born, Key, Parsed, Reason, Refusal, Traffic, address, protocol, tcp_port};

/// A Service that has TCP ports, or could have: every type but ExternalName.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its namespace and name.
    pub key: Key,
    /// To tell which of two Services holds a cluster IP.
    pub born: Born,
    /// Its cluster IPs, one for each of its families; none if it is headless.
    pub cluster_ips: Vec<IpAddr>,
    /// Its TCP ports.
    pub ports: Vec<ServicePort>,
    /// Endpoints count as ready although they aren't (`publishNotReadyAddresses`).
    pub publish_not_ready: bool,
    /// Connections stay on their node (`internalTrafficPolicy: Local`).
    pub node_local: bool,
    /// How its traffic is spread and treated.
    pub traffic: Arc<Traffic>,
    /// What is wrong with its annotations, for those who wrote them.
    pub complaints: Vec<String>,
}

/// A TCP port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, by which EndpointSlices say what is behind it. Empty if it has
    /// none, which only a Service's single port may.
    pub name: Arc<str>,
    /// The port at the cluster IP.
    pub port: u16,
    /// The protocol that it names; empty if none.
    pub protocol_hint: Arc<str>,
}

impl Service {
    /// Its port of that number.
    #[must_use]
    pub fn port(&self, port: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|candidate| candidate.port == port)
    }

    /// The protocol that its port of that name names; `None` if it has no such port.
    #[must_use]
    pub fn hint_of(&self, port_name: &str) -> Option<&Arc<str>> {
        let port = self.ports.iter().find(|port| &*port.name == port_name);
        port.map(|port| &port.protocol_hint)
    }
}

/// Parses a Service. An ExternalName is a DNS alias: no connection is ever made
/// to it, so there is nothing to index.
#[must_use]
pub fn parse(service: &api::Service) -> Parsed<Service> {
    let key = Key::of(&service.metadata);
    let mut refused = Vec::new();
    let spec = service.spec.as_ref();
    let annotations = service.metadata.annotations.as_ref();
    let object = spec
        .filter(|spec| spec.type_.as_deref() != Some("ExternalName"))
        .map(|spec| Service {
            key: key.clone(),
            born: Born::of(&service.metadata),
            cluster_ips: cluster_ips(spec, &mut refused),
            ports: ports(spec, &mut refused),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
            node_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            traffic: Arc::new(Traffic::parse(annotations, spec, &mut refused)),
            complaints: complaints(&refused),
        });
    Parsed {
        key,
        object,
        refused,
    }
}

fn complaints(refused: &[Refusal]) -> Vec<String> {
    let annotations = refused
        .iter()
        .filter(|refusal| refusal.reason == Reason::BadAnnotation);
    annotations.map(|refusal| refusal.value.clone()).collect()
}

fn cluster_ips(spec: &api::ServiceSpec, refused: &mut Vec<Refusal>) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    // clusterIP repeats the first of clusterIPs, and is all that older objects have.
    let all = spec.cluster_ips.as_deref().filter(|all| !all.is_empty());
    for text in all.unwrap_or(spec.cluster_ip.as_slice()) {
        if text.is_empty() || text == "None" {
            continue;
        }
        match address::unicast(text) {
            Ok(ip) if ips.contains(&ip) => {}
            Ok(ip) => ips.push(ip),
            Err(reason) => refused.push(reason.of(text)),
        }
    }
    ips
}

fn ports(spec: &api::ServiceSpec, refused: &mut Vec<Refusal>) -> Vec<ServicePort> {
    let mut ports: Vec<ServicePort> = Vec::new();
    for port in spec.ports.iter().flatten() {
        let number = match tcp_port(port.protocol.as_deref(), port.port) {
            Ok(Some(number)) => number,
            Ok(None) => continue,
            Err(refusal) => {
                refused.push(refusal);
                continue;
            }
        };
        if ports.iter().any(|earlier| earlier.port == number) {
            // Two TCP ports of one number: the API server lets none through.
            refused.push(Reason::BadPort.of(number));
            continue;
        }
        let name = port.name.as_deref().unwrap_or_default();
        ports.push(ServicePort {
            name: name.into(),
            port: number,
            protocol_hint: protocol::hint(port.app_protocol.as_deref(), name).into(),
        });
    }
    ports
}
