//! Endpoints, the predecessor of EndpointSlices, for what has only those.

use k8s_openapi::api::core::v1 as api;

use super::{
    Family, Key, Parsed, Refusal, address, protocol,
    slice::{Group, GroupPort, Member, pod},
    tcp_port,
};

/// An Endpoints object. It has the name of its Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoints {
    /// Its namespace and name, and its Service's.
    pub key: Key,
    /// What it says: a group for each subset and family.
    pub groups: Vec<Group>,
}

/// Parses an Endpoints object.
#[must_use]
pub fn parse(endpoints: &api::Endpoints) -> Parsed<Endpoints> {
    let key = Key::of(&endpoints.metadata);
    let mut refused = Vec::new();
    let mut groups = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset, &mut refused);
        let members = members(subset, &key, &mut refused);
        for family in Family::ALL {
            let of_family = members.iter().filter(|m| Family::of(m.ip) == family);
            let of_family: Vec<Member> = of_family.cloned().collect();
            if !of_family.is_empty() {
                groups.push(Group::new(family, ports.clone(), of_family));
            }
        }
    }
    let object = Some(Endpoints {
        key: key.clone(),
        groups,
    });
    Parsed {
        key,
        object,
        refused,
    }
}

fn ports(subset: &api::EndpointSubset, refused: &mut Vec<Refusal>) -> Vec<GroupPort> {
    let mut ports = Vec::new();
    for port in subset.ports.iter().flatten() {
        let name = port.name.as_deref().unwrap_or_default();
        match tcp_port(port.protocol.as_deref(), port.port) {
            Ok(Some(number)) => ports.push(GroupPort {
                name: name.into(),
                port: number,
                protocol_hint: protocol::hint(port.app_protocol.as_deref(), name).into(),
            }),
            Ok(None) => {}
            Err(refusal) => refused.push(refusal),
        }
    }
    ports
}

/// Endpoints know ready and not ready, and drop what terminates.
fn members(subset: &api::EndpointSubset, key: &Key, refused: &mut Vec<Refusal>) -> Vec<Member> {
    let ready = subset.addresses.iter().flatten().map(|a| (a, true));
    let not_ready = subset.not_ready_addresses.iter().flatten();
    let mut members = Vec::new();
    for (address, ready) in ready.chain(not_ready.map(|a| (a, false))) {
        match address::unicast(&address.ip) {
            Ok(ip) => members.push(Member {
                ip,
                ready,
                serving: ready,
                terminating: false,
                node: address.node_name.as_deref().unwrap_or_default().into(),
                zone: "".into(),
                pod: pod(address.target_ref.as_ref(), key),
                hints: None,
            }),
            Err(reason) => refused.push(reason.of(&address.ip)),
        }
    }
    members
}
