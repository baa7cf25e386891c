//! From the index's types to the messages of the contract.

use std::net::SocketAddr;

use netting_proto::v1::{self, stream_response::Kind as Message};

use crate::index::{
    diff::Diff,
    state::{Destination, Endpoint, Kind, State, Workload},
};

/// The whole state of an address.
#[must_use]
pub fn snapshot(addr: SocketAddr, state: &State, changed_at_us: i64) -> Message {
    Message::Snapshot(v1::Snapshot {
        address: Some(addr.into()),
        destination: Some(destination(&state.destination)),
        endpoints: state.endpoints.iter().map(endpoint).collect(),
        hash: state.hash.0.to_vec(),
        changed_at_us,
    })
}

/// The way from the state that `diff` starts from to `state`.
#[must_use]
pub fn delta(addr: SocketAddr, diff: &Diff, state: &State, changed_at_us: i64) -> Message {
    Message::Delta(v1::Delta {
        address: Some(addr.into()),
        base_hash: diff.base.0.to_vec(),
        hash: state.hash.0.to_vec(),
        destination: diff.destination.then(|| destination(&state.destination)),
        upserted: diff.upserted.iter().map(endpoint).collect(),
        removed: diff.removed.iter().map(|addr| (*addr).into()).collect(),
        changed_at_us,
    })
}

/// Nothing has the address.
#[must_use]
pub fn unknown(addr: SocketAddr, changed_at_us: i64) -> Message {
    Message::Unknown(v1::Unknown {
        address: Some(addr.into()),
        changed_at_us,
    })
}

/// The sidecar's state of the address is current.
#[must_use]
pub fn unchanged(addr: SocketAddr) -> Message {
    Message::Unchanged(v1::Unchanged {
        address: Some(addr.into()),
    })
}

fn destination(destination: &Destination) -> v1::Destination {
    let kind = match destination.kind {
        Kind::Service => v1::DestinationKind::Service,
        Kind::Workload => v1::DestinationKind::Workload,
    };
    v1::Destination {
        kind: kind.into(),
        namespace: destination.namespace.to_string(),
        name: destination.name.to_string(),
        port_name: destination.port_name.to_string(),
        protocol_hint: destination.protocol_hint.to_string(),
        node_local: destination.node_local,
    }
}

fn endpoint(endpoint: &Endpoint) -> v1::Endpoint {
    v1::Endpoint {
        address: Some(endpoint.addr.into()),
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        weight: endpoint.weight,
        node: endpoint.node.to_string(),
        zone: endpoint.zone.to_string(),
        workload: endpoint.workload.as_ref().map(workload),
    }
}

fn workload(workload: &Workload) -> v1::Workload {
    v1::Workload {
        namespace: workload.namespace.to_string(),
        pod: workload.pod.to_string(),
        service_account: workload.service_account.to_string(),
        meshed: workload.meshed,
    }
}
