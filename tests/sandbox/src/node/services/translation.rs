//! Which address and port leads where, from Services and their slices.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::node::cluster::{Cluster, is_ready, is_serving_while_terminating};

/// A Service's address and port, and where connections to it go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Translation {
    pub(super) addr: SocketAddr,
    /// `tcp` or `udp`.
    pub(super) protocol: &'static str,
    /// Namespace, name and port of the Service, for the rules' comments.
    pub(super) name: String,
    /// One of these, by chance; if there are none, it is refused.
    pub(super) targets: BTreeSet<SocketAddr>,
}

/// Every port of every ClusterIP. Headless and external Services have none; garbage in an address
/// makes that address not exist.
pub(super) fn translations(cluster: &Cluster) -> Vec<Translation> {
    let mut all = Vec::new();
    for (key, service) in &cluster.services {
        let slices: Vec<&EndpointSlice> = cluster.slices_of(key).collect();
        for ip in cluster_ips(service) {
            for port in service
                .spec
                .iter()
                .flat_map(|spec| spec.ports.iter().flatten())
            {
                let protocol = match port.protocol.as_deref().unwrap_or("TCP") {
                    "TCP" => "tcp",
                    "UDP" => "udp",
                    _ => continue,
                };
                let Ok(number) = u16::try_from(port.port) else {
                    continue;
                };
                all.push(Translation {
                    addr: SocketAddr::new(ip, number),
                    protocol,
                    name: format!("{}/{}:{number}", key.0, key.1),
                    targets: targets(port, ip, &slices),
                });
            }
        }
    }
    all
}

/// The addresses of a Service that has its own, of both families.
pub(crate) fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let spec = service.spec.as_ref();
    let spec = spec.filter(|spec| spec.type_.as_deref() != Some("ExternalName"));
    let addrs = spec
        .and_then(|spec| spec.cluster_ips.as_ref())
        .into_iter()
        .flatten();
    addrs.filter_map(|addr| addr.parse().ok()).collect()
}

/// The ready endpoints, or those that still serve on their way out if there are none.
fn targets(port: &ServicePort, ip: IpAddr, slices: &[&EndpointSlice]) -> BTreeSet<SocketAddr> {
    let usable = |usable: fn(&Endpoint) -> bool| -> BTreeSet<SocketAddr> {
        let all = slices.iter().flat_map(|slice| endpoints(slice, port, ip));
        all.filter(|(endpoint, _)| usable(endpoint))
            .map(|(_, addr)| addr)
            .collect()
    };
    let ready = usable(is_ready);
    if ready.is_empty() {
        usable(is_serving_while_terminating)
    } else {
        ready
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
    let mut ports = slice.ports.iter().flatten();
    let port = ports.find(|port| {
        port.name.as_deref().unwrap_or_default() == name
            && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    let Some(number) = port.and_then(|port| u16::try_from(port.port?).ok()) else {
        return Vec::new();
    };
    let addresses = |endpoint: &'a Endpoint| {
        let addrs = endpoint
            .addresses
            .iter()
            .filter_map(|addr| addr.parse::<IpAddr>().ok());
        let addrs = addrs.filter(|addr| addr.is_ipv4() == service.is_ipv4());
        addrs
            .map(move |addr| (endpoint, SocketAddr::new(addr, number)))
            .collect::<Vec<_>>()
    };
    slice.endpoints.iter().flat_map(addresses).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    /// `addr -> targets` of every translation of a Service with these endpoints.
    fn translated(spec: Value, endpoints: Value) -> Vec<String> {
        let service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
        let slice = json!({"metadata": {"name": "x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints});
        let cluster = Cluster::new(
            vec![Arc::new(
                serde_json::from_value(service).expect("a service"),
            )],
            vec![Arc::new(serde_json::from_value(slice).expect("a slice"))],
        );
        let lines = translations(&cluster).into_iter().map(|one| {
            let targets: Vec<String> = one.targets.iter().map(ToString::to_string).collect();
            format!("{} {} -> {}", one.protocol, one.addr, targets.join(" "))
        });
        lines.collect()
    }

    #[test]
    fn services_without_addresses_have_no_translations() {
        let ports = json!([{"name": "http", "port": 80}]);
        for spec in [
            json!({"clusterIPs": ["None"], "ports": ports}),
            json!({"type": "ExternalName", "clusterIPs": ["10.96.0.7"], "ports": ports}),
            json!({"clusterIPs": ["garbage"], "ports": ports}),
            json!({"clusterIPs": ["10.96.0.7"], "ports": [{"port": 99999}, {"port": 1, "protocol": "SCTP"}]}),
        ] {
            assert!(translated(spec.clone(), json!([])).is_empty(), "{spec}");
        }
    }

    #[test]
    fn ready_endpoints_are_taken_and_else_those_that_still_serve() {
        let spec = json!({"clusterIPs": ["10.96.0.7"], "ports": [{"name": "http", "port": 80}, {"name": "other", "port": 81}]});
        let leaving = json!({"addresses": ["10.244.0.6"], "conditions": {"ready": false, "serving": true, "terminating": true}});
        let unready = json!({"addresses": ["10.244.0.7"], "conditions": {"ready": false}});
        let ready = json!({"addresses": ["10.244.0.5", "fd00::5", "garbage"]});
        let of = |endpoints: Value| translated(spec.clone(), endpoints);
        let expected = |targets: &str| {
            [
                format!("tcp 10.96.0.7:80 -> {targets}"),
                "tcp 10.96.0.7:81 -> ".to_owned(),
            ]
        };
        assert_eq!(
            of(json!([ready, leaving, unready])),
            expected("10.244.0.5:8080")
        );
        assert_eq!(of(json!([leaving, unready])), expected("10.244.0.6:8080"));
        assert_eq!(of(json!([unready])), expected(""));
    }
}
