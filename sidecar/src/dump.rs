//! What the sidecar holds, for `/config`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, Router, routing::get};
use netting_telemetry::export::{self, Report};
use serde::Serialize;
use tokio::time;

use crate::{
    addr::OriginalDst,
    args::Args,
    balance::Unit,
    destination::{Destination, Endpoint, Kind, Standing},
    policy::Policy,
    protocol::Hint,
    view::{Known, View},
};

/// The answer of `/config`. Fields are only ever added.
#[derive(Debug, Serialize)]
struct Dump {
    version: &'static str,
    namespace: String,
    pod: String,
    node: String,
    /// Empty until the catalog has told it.
    zone: String,
    uptime_seconds: u64,
    catalog: CatalogDump,
    telemetry: export::Dump,
    destinations: Vec<DestinationDump>,
}

#[derive(Debug, Serialize)]
struct CatalogDump {
    address: String,
    connected: bool,
    /// How long there has been a stream, or nothing if there is none.
    connected_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct DestinationDump {
    address: String,
    /// `service`, `workload`, `unknown`, or `waiting` for the catalog's answer.
    kind: &'static str,
    #[serde(flatten)]
    known: Option<KnownDump>,
}

#[derive(Debug, Serialize)]
struct KnownDump {
    namespace: String,
    name: String,
    port_name: String,
    protocol_hint: String,
    /// What is made of that: `opaque`, `client_first`, or null: the first bytes decide.
    hint: Option<&'static str>,
    node_local: bool,
    /// `same_zone` or `same_node` if the service prefers such endpoints, else `any`.
    prefer: &'static str,
    session_affinity_seconds: Option<u64>,
    policy: PolicyDump,
    requests_waiting: usize,
    retries_left: u64,
    hash: String,
    endpoints: Vec<EndpointDump>,
}

/// What is not limited, or never happens, is null.
#[derive(Debug, Serialize)]
struct PolicyDump {
    timeout_ms: Option<u128>,
    per_try_timeout_ms: Option<u128>,
    retries: u32,
    retry_on_reset: bool,
    retry_on_statuses: Vec<u16>,
    retry_on_grpc_codes: Vec<u32>,
    max_pending: Option<u32>,
    eject_after: Option<u32>,
    eject_gap_percent: Option<f64>,
    eject_for_ms: u128,
}

#[derive(Debug, Serialize)]
struct EndpointDump {
    address: String,
    pod: String,
    node: String,
    zone: String,
    meshed: bool,
    ready: bool,
    serving: bool,
    terminating: bool,
    /// `unused`, `used`, or `preferred` to others that are used.
    standing: &'static str,
    weight: u32,
    connections_open: usize,
    connections_total: u64,
    connect_failures_total: u64,
    requests_open: usize,
    requests_total: u64,
    /// Peak EWMAs; null if nothing was measured lately.
    connect_ms: Option<f32>,
    response_ms: Option<f32>,
    /// How long it is still ejected; null if it isn't.
    ejected_for_ms: Option<u128>,
    for_zones: Vec<String>,
    for_nodes: Vec<String>,
}

/// `GET /config`, to be merged into the admin server's routes.
pub fn router(args: Args, view: Arc<View>, exporters: Report) -> Router {
    let begun = Instant::now();
    Router::new().route(
        "/config",
        get(async move || Json(dump(&args, &view, &exporters, begun))),
    )
}

fn dump(args: &Args, view: &View, exporters: &Report, begun: Instant) -> Dump {
    let connected_since = view.connected_since();
    let mut known = view.all();
    known.sort_by_key(|(dst, _)| *dst);
    Dump {
        version: env!("CARGO_PKG_VERSION"),
        namespace: args.pod_namespace.clone(),
        pod: args.pod_name.clone(),
        node: args.node_name.clone(),
        zone: view.zone(),
        uptime_seconds: begun.elapsed().as_secs(),
        catalog: CatalogDump {
            address: args.catalog.to_string(),
            connected: connected_since.is_some(),
            connected_seconds: connected_since.map(|since| since.elapsed().as_secs()),
        },
        telemetry: exporters.dump(),
        destinations: known
            .iter()
            .map(|(dst, known)| address(*dst, known))
            .collect(),
    }
}

fn address(dst: OriginalDst, known: &Known) -> DestinationDump {
    let (kind, known) = match known {
        Known::Nothing => ("waiting", None),
        Known::Unknown => ("unknown", None),
        Known::Destination(known) => match known.kind {
            Kind::Service => ("service", Some(destination(known))),
            Kind::Workload => ("workload", Some(destination(known))),
        },
    };
    DestinationDump {
        address: dst.to_string(),
        kind,
        known,
    }
}

fn destination(known: &Destination) -> KnownDump {
    let now = time::Instant::now();
    KnownDump {
        namespace: known.namespace.clone(),
        name: known.name.clone(),
        port_name: known.port_name.clone(),
        protocol_hint: known.protocol_hint.clone(),
        hint: Hint::of(&known.protocol_hint).map(Hint::as_str),
        node_local: known.node_local,
        prefer: known.prefer.as_str(),
        session_affinity_seconds: known.affinity.map(|affinity| affinity.as_secs()),
        policy: policy(known.policy()),
        requests_waiting: known.waiting(),
        retries_left: known.budget().left(now),
        hash: known
            .hash
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        endpoints: endpoints(known, now),
    }
}

fn policy(policy: &Policy) -> PolicyDump {
    let millis = |duration: Duration| duration.as_millis();
    PolicyDump {
        timeout_ms: policy.timeout.map(millis),
        per_try_timeout_ms: policy.per_try_timeout.map(millis),
        retries: policy.retries,
        retry_on_reset: policy.retry_on.reset,
        retry_on_statuses: policy.retry_on.statuses.clone(),
        retry_on_grpc_codes: policy.retry_on.grpc_codes.clone(),
        max_pending: policy.max_pending,
        eject_after: policy.eject_after,
        eject_gap_percent: policy.eject_gap.map(|gap| gap * 100.0),
        eject_for_ms: millis(policy.eject_for),
    }
}

fn endpoints(known: &Destination, now: time::Instant) -> Vec<EndpointDump> {
    let endpoints = known.endpoints.iter();
    let dumped = endpoints.map(|one| endpoint(one, known.standing(one.addr), now));
    dumped.collect()
}

fn endpoint(endpoint: &Endpoint, standing: Standing, now: time::Instant) -> EndpointDump {
    let millis = |unit| endpoint.load(unit, now).seconds.map(|s| s * 1000.0);
    let ejected_until = endpoint.ejected_until(now);
    EndpointDump {
        address: endpoint.addr.to_string(),
        pod: endpoint.pod.clone(),
        node: endpoint.node.clone(),
        zone: endpoint.zone.clone(),
        meshed: endpoint.meshed,
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        standing: standing.as_str(),
        weight: endpoint.weight,
        connections_open: endpoint.open(),
        connections_total: endpoint.opened(),
        connect_failures_total: endpoint.failed(),
        requests_open: endpoint.requests(),
        requests_total: endpoint.sent(),
        connect_ms: millis(Unit::Connection),
        response_ms: millis(Unit::Request),
        ejected_for_ms: ejected_until.map(|until| (until - now).as_millis()),
        for_zones: endpoint.for_zones.clone(),
        for_nodes: endpoint.for_nodes.clone(),
    }
}
