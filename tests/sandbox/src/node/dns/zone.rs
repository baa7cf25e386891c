//! What the names of a cluster stand for.
//!
//! See the specification, <https://github.com/kubernetes/dns/blob/master/docs/specification.md>.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::Endpoint;

use crate::node::cluster::{Cluster, is_ready};
use crate::node::services::cluster_ips;

/// What a name that exists stands for; all may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) addrs: BTreeSet<IpAddr>,
    /// Another name to look up instead.
    pub(super) alias: Option<String>,
    /// Ports and the names of who has them.
    pub(super) ports: Vec<(u16, String)>,
}

/// Looks up a name in lower case and without the dot at its end; `None` if there is no such name.
pub(super) fn lookup(cluster: &Cluster, domain: &str, name: &str) -> Option<Entry> {
    let local = name.strip_suffix(domain)?.strip_suffix(".svc.")?;
    let labels: Vec<&str> = local.split('.').collect();
    match labels.as_slice() {
        [service, namespace] => whole_service(&Place {
            cluster,
            domain,
            namespace,
            service,
        }),
        [host, service, namespace] => one_endpoint(
            &Place {
                cluster,
                domain,
                namespace,
                service,
            },
            host,
        ),
        [port, protocol, service, namespace] => {
            let place = Place {
                cluster,
                domain,
                namespace,
                service,
            };
            one_port(&place, port.strip_prefix('_')?, protocol.strip_prefix('_')?)
        }
        _ => None,
    }
}

/// A Service's place among the names.
struct Place<'a> {
    cluster: &'a Cluster,
    domain: &'a str,
    namespace: &'a str,
    service: &'a str,
}

impl Place<'_> {
    fn name(&self) -> String {
        format!("{}.{}.svc.{}", self.service, self.namespace, self.domain)
    }

    fn service(&self) -> Option<&Service> {
        self.cluster.service(self.namespace, self.service)
    }

    /// The endpoints of a headless Service that are to be found by name, with their ports' numbers
    /// and names.
    fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, Vec<(u16, String, String)>)> {
        let early = self
            .service()
            .and_then(|service| service.spec.as_ref()?.publish_not_ready_addresses)
            .unwrap_or(false);
        self.cluster
            .slices_of(self.namespace, self.service)
            .flat_map(move |slice| {
                let ports: Vec<(u16, String, String)> = slice
                    .ports
                    .iter()
                    .flatten()
                    .filter_map(|port| {
                        let number = u16::try_from(port.port?).ok()?;
                        let protocol = port
                            .protocol
                            .as_deref()
                            .unwrap_or("TCP")
                            .to_ascii_lowercase();
                        Some((number, port.name.clone().unwrap_or_default(), protocol))
                    })
                    .collect();
                slice
                    .endpoints
                    .iter()
                    .filter(move |endpoint| early || is_ready(endpoint))
                    .map(move |endpoint| (endpoint, ports.clone()))
            })
    }
}

fn whole_service(place: &Place<'_>) -> Option<Entry> {
    let service = place.service()?;
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Some(Entry {
            alias: spec.external_name.clone(),
            ..Entry::default()
        });
    }
    let addrs: BTreeSet<IpAddr> = if is_headless(service) {
        place
            .endpoints()
            .flat_map(|(endpoint, _)| parsed(endpoint))
            .collect()
    } else {
        cluster_ips(service).into_iter().collect()
    };
    Some(Entry {
        addrs,
        alias: None,
        ports: ports(place, service, |_, _| true),
    })
}

/// An endpoint of a headless Service has a name of its own: the pod's hostname, or its address with
/// dashes.
fn one_endpoint(place: &Place<'_>, host: &str) -> Option<Entry> {
    if !is_headless(place.service()?) {
        return None;
    }
    let named = place
        .endpoints()
        .filter(|(endpoint, _)| endpoint_name(endpoint) == host);
    let addrs: BTreeSet<IpAddr> = named.flat_map(|(endpoint, _)| parsed(endpoint)).collect();
    (!addrs.is_empty()).then(|| Entry {
        addrs,
        ..Entry::default()
    })
}

fn one_port(place: &Place<'_>, port: &str, protocol: &str) -> Option<Entry> {
    let ports = ports(place, place.service()?, |n, p| n == port && p == protocol);
    (!ports.is_empty()).then(|| Entry {
        ports,
        ..Entry::default()
    })
}

fn ports(
    place: &Place<'_>,
    service: &Service,
    wanted: impl Fn(&str, &str) -> bool,
) -> Vec<(u16, String)> {
    let base = place.name();
    if is_headless(service) {
        let all = place.endpoints().flat_map(|(endpoint, ports)| {
            let target = format!("{}.{base}", endpoint_name(endpoint));
            ports.into_iter().map(move |port| (port, target.clone()))
        });
        let wanted = all.filter(|((_, name, protocol), _)| wanted(name, protocol));
        return wanted
            .map(|((number, ..), target)| (number, target))
            .collect();
    }
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter(|port| {
            let protocol = port
                .protocol
                .as_deref()
                .unwrap_or("TCP")
                .to_ascii_lowercase();
            wanted(port.name.as_deref().unwrap_or_default(), &protocol)
        })
        .filter_map(|port| Some((u16::try_from(port.port).ok()?, base.clone())))
        .collect()
}

fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
}

fn endpoint_name(endpoint: &Endpoint) -> String {
    let addr = || {
        endpoint
            .addresses
            .first()
            .map(|addr| addr.replace(['.', ':'], "-"))
    };
    endpoint.hostname.clone().or_else(addr).unwrap_or_default()
}

fn parsed(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    endpoint
        .addresses
        .iter()
        .filter_map(|addr| addr.parse().ok())
}

#[cfg(test)]
mod tests;
