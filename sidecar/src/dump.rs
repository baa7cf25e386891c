//! What the sidecar holds, for `/config`.

use std::{sync::Arc, time::Instant};

use axum::{Json, Router, routing::get};
use serde::Serialize;

use crate::{
    addr::OriginalDst,
    args::Args,
    destination::{Destination, Endpoint, Kind},
    view::{Known, View},
};

/// The answer of `/config`. Fields are only ever added.
#[derive(Debug, Serialize)]
struct Dump {
    version: &'static str,
    namespace: String,
    pod: String,
    node: String,
    uptime_seconds: u64,
    catalog: CatalogDump,
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
    node_local: bool,
    hash: String,
    endpoints: Vec<EndpointDump>,
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
    weight: u32,
    connections_open: usize,
    connections_total: u64,
    connect_failures_total: u64,
}

/// `GET /config`, to be merged into the admin server's routes.
pub fn router(args: Args, view: Arc<View>) -> Router {
    let begun = Instant::now();
    Router::new().route(
        "/config",
        get(async move || Json(dump(&args, &view, begun))),
    )
}

fn dump(args: &Args, view: &View, begun: Instant) -> Dump {
    let connected_since = view.connected_since();
    let mut known = view.all();
    known.sort_by_key(|(dst, _)| *dst);
    Dump {
        version: env!("CARGO_PKG_VERSION"),
        namespace: args.pod_namespace.clone(),
        pod: args.pod_name.clone(),
        node: args.node_name.clone(),
        uptime_seconds: begun.elapsed().as_secs(),
        catalog: CatalogDump {
            address: args.catalog.to_string(),
            connected: connected_since.is_some(),
            connected_seconds: connected_since.map(|since| since.elapsed().as_secs()),
        },
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
    KnownDump {
        namespace: known.namespace.clone(),
        name: known.name.clone(),
        port_name: known.port_name.clone(),
        protocol_hint: known.protocol_hint.clone(),
        node_local: known.node_local,
        hash: known
            .hash
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        endpoints: known.endpoints.iter().map(|e| endpoint(e)).collect(),
    }
}

fn endpoint(endpoint: &Endpoint) -> EndpointDump {
    EndpointDump {
        address: endpoint.addr.to_string(),
        pod: endpoint.pod.clone(),
        node: endpoint.node.clone(),
        zone: endpoint.zone.clone(),
        meshed: endpoint.meshed,
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        weight: endpoint.weight,
        connections_open: endpoint.open(),
        connections_total: endpoint.opened(),
        connect_failures_total: endpoint.failed(),
    }
}
