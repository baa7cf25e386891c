//! A destination from the catalog's messages: parsed once, here.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use netting_proto::{BadAddress, required, v1};

use super::{Candidates, Destination, Endpoint, Kind, Owner, Place, Prefer, Record, Shared};
use crate::{addr::EndpointAddr, policy::Policy};

/// An update that cannot be applied. The state before it stays.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUpdate {
    /// The message says nothing of what the address belongs to.
    #[error("the message has no destination")]
    NoDestination,
    /// The delta is for another state than the one that is held.
    #[error("the delta is for a state that is not held")]
    OtherBase,
    /// The message's own address is none.
    #[error("the message is for {0}")]
    Address(#[from] BadAddress),
}

type Endpoints = BTreeMap<EndpointAddr, Arc<Endpoint>>;

impl Destination {
    /// The state that a snapshot tells. Endpoints that `before` had too keep their
    /// records, and the same service or pod its counts. `own` is where the sidecar is.
    ///
    /// # Errors
    /// If the snapshot has no destination. An endpoint without a usable address is
    /// left out, with a warning, and the rest is kept.
    pub fn from_snapshot(
        snapshot: v1::Snapshot,
        before: Option<&Destination>,
        own: &Place,
    ) -> Result<Self, BadUpdate> {
        let destination = snapshot.destination.ok_or(BadUpdate::NoDestination)?;
        let mut endpoints = Endpoints::new();
        upsert(&mut endpoints, snapshot.endpoints, before);
        Ok(assemble(destination, endpoints, snapshot.hash, before).seen_from(own))
    }

    /// The state after a delta.
    ///
    /// # Errors
    /// If the delta is not for this state; subscribe anew then.
    pub fn with_delta(&self, delta: v1::Delta, own: &Place) -> Result<Self, BadUpdate> {
        if delta.base_hash != self.hash {
            return Err(BadUpdate::OtherBase);
        }
        let by_addr = |endpoint: &Arc<Endpoint>| (endpoint.addr, Arc::clone(endpoint));
        let mut endpoints: Endpoints = self.endpoints.iter().map(by_addr).collect();
        for removed in &delta.removed {
            match required(Some(removed)) {
                Ok(addr) => drop(endpoints.remove(&EndpointAddr(addr))),
                Err(error) => tracing::warn!(%error, "a removed endpoint has no usable address"),
            }
        }
        upsert(&mut endpoints, delta.upserted, Some(self));
        if let Some(destination) = delta.destination {
            return Ok(assemble(destination, endpoints, delta.hash, Some(self)).seen_from(own));
        }
        let same = Destination {
            endpoints: endpoints.into_values().collect(),
            hash: delta.hash,
            ..self.clone()
        };
        Ok(same.seen_from(own))
    }
}

fn assemble(
    destination: v1::Destination,
    endpoints: Endpoints,
    hash: Vec<u8>,
    before: Option<&Destination>,
) -> Destination {
    let kind = match destination.kind() {
        v1::DestinationKind::Workload => Kind::Workload,
        v1::DestinationKind::Service | v1::DestinationKind::Unspecified => Kind::Service,
    };
    // An address may have passed to something else, which has nothing to do with that.
    let is_same = |before: &&Destination| {
        (before.kind, &before.namespace, &before.name)
            == (kind, &destination.namespace, &destination.name)
    };
    let shared = before.filter(is_same);
    let is_another = shared.is_none();
    let shared = shared.map(|before| Arc::clone(&before.shared));
    let shared = shared.unwrap_or_else(|| Arc::new(Shared::new()));
    let endpoints = endpoints.into_values();
    let endpoints = if is_another {
        endpoints.map(|it| Arc::new(it.of_another())).collect()
    } else {
        endpoints.collect()
    };
    let prefer = match destination.traffic_distribution() {
        v1::TrafficDistribution::Unspecified => Prefer::Any,
        v1::TrafficDistribution::PreferSameZone => Prefer::SameZone,
        v1::TrafficDistribution::PreferSameNode => Prefer::SameNode,
    };
    let seconds = destination.session_affinity_seconds;
    let policy = destination.policy.map(Policy::from).unwrap_or_default();
    Destination {
        kind,
        namespace: destination.namespace,
        name: destination.name,
        port_name: destination.port_name,
        protocol_hint: destination.protocol_hint,
        node_local: destination.node_local,
        endpoints,
        prefer,
        affinity: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
        hash,
        candidates: Arc::new(Candidates::none(policy, Arc::clone(&shared))),
        shared,
    }
}

fn upsert(endpoints: &mut Endpoints, upserted: Vec<v1::Endpoint>, before: Option<&Destination>) {
    for endpoint in upserted {
        let addr = match required(endpoint.address.as_ref()) {
            Ok(addr) => EndpointAddr(addr),
            Err(error) => {
                tracing::warn!(%error, "left out an endpoint without a usable address");
                continue;
            }
        };
        let known = before.and_then(|before| before.endpoint_at(addr));
        let record = known.map(|endpoint| Arc::clone(&endpoint.record));
        let record = record.unwrap_or_else(|| Arc::new(Record::new()));
        let endpoint = parse(addr, endpoint, record);
        endpoints.insert(addr, Arc::new(endpoint));
    }
}

fn parse(addr: EndpointAddr, endpoint: v1::Endpoint, record: Arc<Record>) -> Endpoint {
    let workload = endpoint.workload.unwrap_or_default();
    let pod = match (workload.namespace.as_str(), workload.pod.as_str()) {
        ("", "") => String::new(),
        (namespace, pod) => format!("{namespace}/{pod}"),
    };
    Endpoint {
        addr,
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        weight: endpoint.weight.max(1),
        node: endpoint.node,
        zone: endpoint.zone,
        pod,
        for_nodes: endpoint.for_nodes,
        for_zones: endpoint.for_zones,
        meshed: workload.meshed,
        owner: (!workload.owner_name.is_empty()).then_some(Owner {
            kind: workload.owner_kind,
            name: workload.owner_name,
        }),
        record,
        traffic: OnceLock::new(),
    }
}
