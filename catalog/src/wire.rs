//! From the index's types to the messages of the contract.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use netting_proto::v1::{self, stream_response::Kind as Message};

use crate::{
    index::{
        diff::Diff,
        state::{Destination, Endpoint, Kind, State, Workload},
    },
    objects::{Distribution, Policy, RetryOn},
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
    let traffic = &destination.traffic;
    let traffic_distribution = match traffic.distribution {
        Distribution::Any => v1::TrafficDistribution::Unspecified,
        Distribution::PreferSameZone => v1::TrafficDistribution::PreferSameZone,
        Distribution::PreferSameNode => v1::TrafficDistribution::PreferSameNode,
    };
    v1::Destination {
        kind: kind.into(),
        namespace: destination.namespace.to_string(),
        name: destination.name.to_string(),
        port_name: destination.port_name.to_string(),
        protocol_hint: destination.protocol_hint.to_string(),
        node_local: destination.node_local,
        traffic_distribution: traffic_distribution.into(),
        session_affinity_seconds: traffic.session_affinity_seconds,
        policy: (traffic.policy != Policy::default()).then(|| policy(&traffic.policy)),
    }
}

fn policy(policy: &Policy) -> v1::ServicePolicy {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    v1::ServicePolicy {
        timeout_ms: policy.timeout.map(millis),
        per_try_timeout_ms: policy.per_try_timeout.map(millis),
        retries: policy.retries,
        retry_on: policy.retry_on.as_ref().map(retry_on),
        max_pending: policy.max_pending,
        eject_after: policy.eject_after,
        eject_for_ms: policy.eject_for.map(millis),
        eject_gap_percent: policy.eject_gap,
    }
}

fn retry_on(retry_on: &RetryOn) -> v1::RetryOn {
    v1::RetryOn {
        reset: retry_on.reset,
        statuses: retry_on.statuses.iter().copied().map(u32::from).collect(),
        grpc_codes: retry_on.grpc_codes.clone(),
    }
}

fn endpoint(endpoint: &Endpoint) -> v1::Endpoint {
    let hints = endpoint.hints.as_deref();
    let names = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect();
    v1::Endpoint {
        address: Some(endpoint.addr.into()),
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        weight: endpoint.weight,
        node: endpoint.node.to_string(),
        zone: endpoint.zone.to_string(),
        workload: endpoint.workload.as_ref().map(workload),
        for_zones: names(hints.map_or(&[], |hints| &hints.zones)),
        for_nodes: names(hints.map_or(&[], |hints| &hints.nodes)),
    }
}

fn workload(workload: &Workload) -> v1::Workload {
    v1::Workload {
        namespace: workload.namespace.to_string(),
        pod: workload.pod.to_string(),
        service_account: workload.service_account.to_string(),
        meshed: workload.meshed,
        owner_kind: workload.owner.kind.to_string(),
        owner_name: workload.owner.name.to_string(),
    }
}
