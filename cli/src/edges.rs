//! Who talks to whom, as the clients' sidecars count it for each endpoint they use.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;

use crate::{
    output::{Cell, Table, Tone},
    sidecar::{Config, Destination, Endpoint},
    stat::{millis, share},
    traffic::{Counted, Peer, Requests},
    workload::Workload,
};

/// All sidecars at one moment, by `namespace/pod`.
pub type Held = BTreeMap<String, Sidecar>;

/// What one sidecar holds, and has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar {
    /// What its pod belongs to.
    pub workload: Workload,
    /// What it holds.
    pub config: Config,
    /// What it has counted; nothing, if it keeps that to itself.
    pub counted: Counted,
}

/// One workload, and what it talks to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edge {
    /// Who.
    pub client: Workload,
    /// To whom: `shop/echo:http`, `pod shop/web-1`, or an address that nobody is known
    /// to have.
    pub server: String,
    /// `service`, `workload` or `unknown`.
    pub kind: String,
    /// Pods of the client that do.
    pub pods: usize,
    /// Sent meanwhile.
    pub requests_per_second: f64,
    /// Made meanwhile; kept ones serve many requests.
    pub connections_per_second: f64,
    /// Open now.
    pub connections_open: u64,
    /// Failed so far.
    pub connect_failures_total: u64,
    /// The share of requests that did not fail, from 0 to 1; nothing without requests.
    pub success: Option<f64>,
    /// Half of the requests took at most so long.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took at most so long.
    pub p99_ms: Option<f64>,
    /// Endpoints of it, and those of them with a sidecar.
    pub endpoints: usize,
    /// See `endpoints`.
    pub meshed_endpoints: usize,
    /// Endpoints that are ejected by one client or more.
    pub ejected_endpoints: usize,
}

/// An edge, and what all of the client's pods counted for it.
struct Sum {
    edge: Edge,
    requests: Requests,
}

/// All edges between two looks.
#[must_use]
pub fn edges(before: &Held, after: &Held, window: Duration) -> Vec<Edge> {
    let mut edges: BTreeMap<(Workload, String), Sum> = BTreeMap::new();
    for (pod, now) in after {
        let earlier = before.get(pod);
        let counts = now.counted.since(&earlier.unwrap_or(now).counted);
        for (server, addresses) in by_server(&now.config) {
            let sum = edges
                .entry((now.workload.clone(), server))
                .or_insert_with(|| none_yet(&now.workload, addresses[0]));
            sum.edge.pods += 1;
            for held in &addresses {
                let was = match earlier {
                    Some(earlier) => earlier.config.destination(&held.address),
                    // Nothing is known of what it did meanwhile.
                    None => Some(*held),
                };
                add(&mut sum.edge, held, was, window);
            }
            // Addresses of both families at one port are one peer.
            let peers: BTreeSet<Peer> = addresses.into_iter().filter_map(peer).collect();
            for requests in peers.iter().filter_map(|peer| counts.peers.get(peer)) {
                sum.requests.add(requests);
            }
        }
    }
    edges.into_values().map(finished).collect()
}

/// What a sidecar's application talks to, each with its addresses: a service may have one of
/// each family, and a pod may be used at several ports.
fn by_server(config: &Config) -> BTreeMap<String, Vec<&Destination>> {
    let mut servers: BTreeMap<String, Vec<&Destination>> = BTreeMap::new();
    let known = config.destinations.iter();
    for held in known.filter(|held| held.kind != "waiting") {
        servers.entry(held.title()).or_default().push(held);
    }
    servers
}

fn none_yet(client: &Workload, held: &Destination) -> Sum {
    let edge = Edge {
        client: client.clone(),
        server: held.title(),
        kind: held.kind.clone(),
        pods: 0,
        requests_per_second: 0.0,
        connections_per_second: 0.0,
        connections_open: 0,
        connect_failures_total: 0,
        success: None,
        p50_ms: None,
        p99_ms: None,
        endpoints: 0,
        meshed_endpoints: 0,
        ejected_endpoints: 0,
    };
    Sum {
        edge,
        requests: Requests::default(),
    }
}

/// As the sidecar's metrics call it.
fn peer(held: &Destination) -> Option<Peer> {
    let (_, port) = held.address.rsplit_once(':')?;
    Some(Peer {
        namespace: held.namespace.clone(),
        name: held.name.clone(),
        port: port.parse().ok()?,
    })
}

fn finished(sum: Sum) -> Edge {
    let millis = |share| {
        sum.requests
            .durations
            .quantile(share)
            .map(|seconds| seconds * 1000.0)
    };
    Edge {
        success: sum.requests.success(),
        p50_ms: millis(0.5),
        p99_ms: millis(0.99),
        ..sum.edge
    }
}

fn add(edge: &mut Edge, held: &Destination, was: Option<&Destination>, window: Duration) {
    let seconds = window.as_secs_f64().max(f64::MIN_POSITIVE);
    let was: BTreeMap<&str, &Endpoint> = was
        .iter()
        .flat_map(|was| &was.endpoints)
        .map(|one| (one.address.as_str(), one))
        .collect();
    // Endpoints that went took their counts along, those that are new have begun at nothing.
    let grown = |of: fn(&Endpoint) -> u64| {
        let grown = held.endpoints.iter().map(|one| {
            let before = was.get(one.address.as_str());
            let (now, before) = (of(one), before.map_or(0, |one| of(one)));
            now.checked_sub(before).unwrap_or(now)
        });
        grown.sum::<u64>() as f64 / seconds
    };
    let count = |is: fn(&Endpoint) -> bool| held.endpoints.iter().filter(|one| is(one)).count();
    edge.requests_per_second += grown(|one| one.requests_total);
    edge.connections_per_second += grown(|one| one.connections_total);
    for endpoint in &held.endpoints {
        edge.connections_open += endpoint.connections_open;
        edge.connect_failures_total += endpoint.connect_failures_total;
    }
    edge.endpoints = edge.endpoints.max(held.endpoints.len());
    edge.meshed_endpoints = edge.meshed_endpoints.max(count(|one| one.meshed));
    edge.ejected_endpoints = edge
        .ejected_endpoints
        .max(count(|one| one.ejected_for_ms.is_some()));
}

/// For people.
#[must_use]
pub fn table(edges: &[Edge]) -> Table {
    let mut table = Table::new([
        "NAMESPACE",
        "CLIENT",
        "SERVER",
        "REQUESTS/S",
        "SUCCESS",
        "P50",
        "P99",
        "ENDPOINTS",
    ])
    .wide([
        "KIND",
        "PODS",
        "TCP OPEN",
        "TCP/S",
        "MESHED",
        "EJECTED",
        "FAILED CONNECTS",
    ]);
    for edge in edges {
        let failures = match edge.connect_failures_total {
            0 => Cell::from("0"),
            some => Tone::Warning.cell(some.to_string()),
        };
        table.row([
            Cell::from(edge.client.namespace.as_str()),
            edge.client.to_string().into(),
            edge.server.as_str().into(),
            format!("{:.1}", edge.requests_per_second).into(),
            share(edge.success),
            millis(edge.p50_ms),
            millis(edge.p99_ms),
            endpoints(edge),
            edge.kind.as_str().into(),
            edge.pods.to_string().into(),
            edge.connections_open.to_string().into(),
            format!("{:.1}", edge.connections_per_second).into(),
            edge.meshed_endpoints.to_string().into(),
            edge.ejected_endpoints.to_string().into(),
            failures,
        ]);
    }
    table
}

fn endpoints(edge: &Edge) -> Cell {
    match (edge.kind.as_str(), edge.endpoints, edge.ejected_endpoints) {
        ("unknown", ..) => Tone::Faint.cell("passed through"),
        (_, 0, _) => Tone::Bad.cell("none"),
        (_, count, 0) => count.to_string().into(),
        (_, count, ejected) => Tone::Warning.cell(format!("{count} ({ejected} ejected)")),
    }
}

#[cfg(test)]
mod tests;
