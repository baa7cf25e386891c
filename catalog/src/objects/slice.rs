//! EndpointSlices.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::{core::v1::ObjectReference, discovery::v1 as api};

use super::{Family, Key, Parsed, Reason, Refusal, address, protocol, tcp_port};

/// Names the Service that a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An EndpointSlice that belongs to a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Its own namespace and name.
    pub key: Key,
    /// Its Service, which is in the same namespace and need not exist yet.
    pub service: Key,
    /// What it says.
    pub group: Group,
}

/// Endpoints that share their family and their ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The family of all of its members.
    pub family: Family,
    /// The TCP ports that each member listens on.
    pub ports: Vec<GroupPort>,
    /// The members, sorted, so that equal groups compare as equal.
    pub members: Vec<Member>,
}

/// A TCP port that each member of a group listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPort {
    /// The name of the Service's port that it stands behind; empty if that has none.
    pub name: Arc<str>,
    /// The port at the endpoint's own address.
    pub port: u16,
    /// The protocol that it names; empty if none.
    pub protocol_hint: Arc<str>,
}

/// One IP behind a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Where it is.
    pub ip: IpAddr,
    /// Ready, as its object says.
    pub ready: bool,
    /// Able to serve, be it terminating or not.
    pub serving: bool,
    /// Shutting down.
    pub terminating: bool,
    /// Its node; empty if not known.
    pub node: Arc<str>,
    /// Its zone; empty if not known.
    pub zone: Arc<str>,
    /// The pod that it is, if its object says that it is one.
    pub pod: Option<Key>,
    /// Whose traffic is meant for it, if its object says so.
    pub hints: Option<Arc<Hints>>,
}

/// Whose traffic is meant for an endpoint, each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hints {
    /// That of these zones.
    pub zones: Vec<Arc<str>>,
    /// That of these nodes.
    pub nodes: Vec<Arc<str>>,
}

impl Group {
    /// The port that stands behind a Service's port of that name.
    #[must_use]
    pub fn port_named(&self, name: &str) -> Option<&GroupPort> {
        self.ports.iter().find(|port| &*port.name == name)
    }

    /// The members at an IP.
    pub fn members_at(&self, ip: IpAddr) -> impl Iterator<Item = &Member> {
        let first = self.members.partition_point(|member| member.ip < ip);
        let rest = self.members.iter().skip(first);
        rest.take_while(move |member| member.ip == ip)
    }
}

impl Member {
    /// Where a connection to one of its ports goes.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }
}

/// Parses an EndpointSlice.
#[must_use]
pub fn parse(slice: &api::EndpointSlice) -> Parsed<Slice> {
    let key = Key::of(&slice.metadata);
    let mut refused = Vec::new();
    let object = match head(slice) {
        Ok((service, family)) => Some(Slice {
            key: key.clone(),
            service: Key::new(key.namespace.clone(), service),
            group: Group::new(
                family,
                ports(slice, &mut refused),
                members(slice, family, &key, &mut refused),
            ),
        }),
        Err(refusal) => {
            refused.push(refusal);
            None
        }
    };
    Parsed {
        key,
        object,
        refused,
    }
}

impl Group {
    pub(super) fn new(family: Family, ports: Vec<GroupPort>, mut members: Vec<Member>) -> Self {
        members.sort_unstable();
        Self {
            family,
            ports,
            members,
        }
    }
}

/// What a slice is nothing without: its service and its family.
fn head(slice: &api::EndpointSlice) -> Result<(&str, Family), Refusal> {
    let labels = slice.metadata.labels.as_ref();
    let service = labels.and_then(|labels| labels.get(SERVICE_NAME));
    let service = service.filter(|name| !name.is_empty());
    let service = service.ok_or_else(|| Reason::NoServiceName.of(SERVICE_NAME))?;
    let family = match slice.address_type.as_str() {
        "IPv4" => Family::V4,
        "IPv6" => Family::V6,
        other => return Err(Reason::AddressType.of(other)),
    };
    Ok((service, family))
}

fn ports(slice: &api::EndpointSlice, refused: &mut Vec<Refusal>) -> Vec<GroupPort> {
    let mut ports = Vec::new();
    for port in slice.ports.iter().flatten() {
        let name = port.name.as_deref().unwrap_or_default();
        let parsed = match port.port {
            None if matches!(port.protocol.as_deref(), None | Some("TCP")) => {
                Err(Reason::NoPort.of(name))
            }
            number => tcp_port(port.protocol.as_deref(), number.unwrap_or_default()),
        };
        match parsed {
            Ok(Some(port_number)) => ports.push(GroupPort {
                name: name.into(),
                port: port_number,
                protocol_hint: protocol::hint(port.app_protocol.as_deref(), name).into(),
            }),
            Ok(None) => {}
            Err(refusal) => refused.push(refusal),
        }
    }
    ports
}

fn members(
    slice: &api::EndpointSlice,
    family: Family,
    key: &Key,
    refused: &mut Vec<Refusal>,
) -> Vec<Member> {
    let mut members = Vec::with_capacity(slice.endpoints.len());
    for endpoint in &slice.endpoints {
        let ip = match member_ip(&endpoint.addresses, family) {
            Ok(ip) => ip,
            Err(refusal) => {
                refused.push(refusal);
                continue;
            }
        };
        let conditions = endpoint.conditions.as_ref();
        // What is not said counts as ready, as serving if ready, and as not terminating.
        let ready = conditions.and_then(|said| said.ready).unwrap_or(true);
        members.push(Member {
            ip,
            ready,
            serving: conditions.and_then(|said| said.serving).unwrap_or(ready),
            terminating: conditions
                .and_then(|said| said.terminating)
                .unwrap_or(false),
            node: endpoint.node_name.as_deref().unwrap_or_default().into(),
            zone: endpoint.zone.as_deref().unwrap_or_default().into(),
            pod: pod(endpoint.target_ref.as_ref(), key),
            hints: endpoint.hints.as_ref().and_then(hints),
        });
    }
    members
}

fn hints(hints: &api::EndpointHints) -> Option<Arc<Hints>> {
    let zones = hints.for_zones.iter().flatten().map(|zone| &zone.name);
    let nodes = hints.for_nodes.iter().flatten().map(|node| &node.name);
    let mut hints = Hints {
        zones: zones.map(|name| name.as_str().into()).collect(),
        nodes: nodes.map(|name| name.as_str().into()).collect(),
    };
    hints.zones.sort_unstable();
    hints.nodes.sort_unstable();
    let any = !hints.zones.is_empty() || !hints.nodes.is_empty();
    any.then(|| Arc::new(hints))
}

/// The first address is the endpoint's; more than one has no meaning, says the
/// API, and kube-proxy looks at no other.
fn member_ip(addresses: &[String], family: Family) -> Result<IpAddr, Refusal> {
    let Some(text) = addresses.first() else {
        return Err(Reason::NoAddress.of(""));
    };
    let ip = address::unicast(text).map_err(|reason| reason.of(text))?;
    if Family::of(ip) != family {
        return Err(Reason::OtherFamily.of(text));
    }
    Ok(ip)
}

/// The pod that a reference names, within the namespace of `owner` if it names none.
pub(super) fn pod(reference: Option<&ObjectReference>, owner: &Key) -> Option<Key> {
    let reference = reference?;
    if reference.kind.as_deref() != Some("Pod") {
        return None;
    }
    let namespace = match reference.namespace.as_deref() {
        Some(namespace) if *namespace != *owner.namespace => namespace.into(),
        _ => owner.namespace.clone(),
    };
    let name = reference.name.as_deref().filter(|name| !name.is_empty())?;
    Some(Key::new(namespace, name))
}
