//! Who talks to whom, as the clients' sidecars count it for each endpoint they use.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    output::{Cell, Table, Tone},
    sidecar::{Config, Destination},
    stat::millis,
    workload::Workload,
};

/// What all sidecars hold at one moment, by `namespace/pod`.
pub type Held = BTreeMap<String, (Workload, Config)>;

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
    /// How long a response takes, on the average of the endpoints; nothing if none was
    /// measured lately.
    pub response_ms: Option<f64>,
    /// Endpoints of it, and those of them with a sidecar.
    pub endpoints: usize,
    /// See `endpoints`.
    pub meshed_endpoints: usize,
    /// Endpoints that are ejected by one client or more.
    pub ejected_endpoints: usize,
}

/// What one sidecar counted for one destination.
#[derive(Default)]
struct Counted {
    requests: u64,
    connections: u64,
}

/// All edges between two looks.
#[must_use]
pub fn edges(before: &Held, after: &Held, window: Duration) -> Vec<Edge> {
    let mut edges: BTreeMap<(Workload, String), Edge> = BTreeMap::new();
    for (pod, (workload, config)) in after {
        let earlier = before.get(pod).map(|(_, config)| config);
        for held in config
            .destinations
            .iter()
            .filter(|held| held.kind != "waiting")
        {
            let key = (workload.clone(), held.title());
            let edge = edges.entry(key).or_insert_with(|| none_yet(workload, held));
            let was = earlier.and_then(|config| config.destination(&held.address));
            add(
                edge,
                held,
                was.or(earlier.is_none().then_some(held)),
                window,
            );
        }
    }
    edges.into_values().collect()
}

fn none_yet(client: &Workload, held: &Destination) -> Edge {
    Edge {
        client: client.clone(),
        server: held.title(),
        kind: held.kind.clone(),
        pods: 0,
        requests_per_second: 0.0,
        connections_per_second: 0.0,
        connections_open: 0,
        connect_failures_total: 0,
        response_ms: None,
        endpoints: 0,
        meshed_endpoints: 0,
        ejected_endpoints: 0,
    }
}

fn add(edge: &mut Edge, held: &Destination, was: Option<&Destination>, window: Duration) {
    let seconds = window.as_secs_f64().max(f64::MIN_POSITIVE);
    let now = counted(held);
    let was = was.map(counted).unwrap_or_default();
    // Endpoints that went took their counts along.
    let grown = |now: u64, was: u64| now.saturating_sub(was) as f64 / seconds;
    edge.pods += 1;
    edge.requests_per_second += grown(now.requests, was.requests);
    edge.connections_per_second += grown(now.connections, was.connections);
    let measured: Vec<f64> = held
        .endpoints
        .iter()
        .filter_map(|one| one.response_ms)
        .collect();
    if !measured.is_empty() {
        let mean = measured.iter().sum::<f64>() / measured.len() as f64;
        edge.response_ms = Some(edge.response_ms.map_or(mean, |other| other.max(mean)));
    }
    for endpoint in &held.endpoints {
        edge.connections_open += endpoint.connections_open;
        edge.connect_failures_total += endpoint.connect_failures_total;
    }
    let count = |is: fn(&crate::sidecar::Endpoint) -> bool| {
        held.endpoints.iter().filter(|one| is(one)).count()
    };
    edge.endpoints = edge.endpoints.max(held.endpoints.len());
    edge.meshed_endpoints = edge.meshed_endpoints.max(count(|one| one.meshed));
    edge.ejected_endpoints = edge
        .ejected_endpoints
        .max(count(|one| one.ejected_for_ms.is_some()));
}

fn counted(held: &Destination) -> Counted {
    let sum = held.endpoints.iter();
    sum.fold(Counted::default(), |sum, endpoint| Counted {
        requests: sum.requests + endpoint.requests_total,
        connections: sum.connections + endpoint.connections_total,
    })
}

/// For people.
#[must_use]
pub fn table(edges: &[Edge]) -> Table {
    let mut table = Table::new([
        "NAMESPACE",
        "CLIENT",
        "SERVER",
        "REQUESTS/S",
        "RESPONSE",
        "CONNECTIONS/S",
        "TCP OPEN",
        "ENDPOINTS",
    ])
    .wide(["KIND", "PODS", "MESHED", "EJECTED", "FAILED CONNECTS"]);
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
            millis(edge.response_ms),
            format!("{:.1}", edge.connections_per_second).into(),
            edge.connections_open.to_string().into(),
            endpoints(edge),
            edge.kind.as_str().into(),
            edge.pods.to_string().into(),
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
mod tests {
    use serde_json::json;

    use super::*;

    fn held(requests: u64) -> Held {
        let client = Workload {
            namespace: "shop".to_owned(),
            kind: "Deployment".to_owned(),
            name: "web".to_owned(),
        };
        let config = json!({"destinations": [
            {"address": "10.96.0.7:80", "kind": "service", "namespace": "shop", "name": "echo", "port_name": "http",
             "endpoints": [
                {"address": "10.0.0.7:80", "meshed": true, "requests_total": requests, "connections_open": 2, "response_ms": 4.0},
                {"address": "10.0.0.8:80", "requests_total": 10, "response_ms": 2.0, "ejected_for_ms": 900}]},
            {"address": "1.2.3.4:443", "kind": "unknown"},
            {"address": "1.2.3.5:443", "kind": "waiting"}]});
        let config: Config = serde_json::from_value(config).expect("a config");
        [
            ("shop/web-1".to_owned(), (client.clone(), config.clone())),
            ("shop/web-2".to_owned(), (client, config)),
        ]
        .into()
    }

    #[test]
    fn counts_of_a_workloads_pods_are_summed_for_each_server() {
        let edges = edges(&held(100), &held(150), Duration::from_secs(10));
        let servers: Vec<_> = edges.iter().map(|edge| edge.server.as_str()).collect();
        assert_eq!(servers, ["1.2.3.4:443", "shop/echo:http"]);
        let echo = &edges[1];
        assert!((echo.requests_per_second - 10.0).abs() < 1e-9, "{echo:?}");
        assert_eq!(
            (echo.pods, echo.connections_open, echo.endpoints),
            (2, 4, 2)
        );
        assert_eq!((echo.meshed_endpoints, echo.ejected_endpoints), (1, 1));
        assert!(
            echo.response_ms
                .is_some_and(|millis| (millis - 3.0).abs() < 1e-9)
        );
        let table = table(&edges).render(false, false);
        assert!(table.contains("passed through"), "{table}");
        assert!(table.contains("2 (1 ejected)"), "{table}");
    }

    #[test]
    fn a_pod_that_is_new_has_not_done_anything_yet() {
        let edges = edges(&Held::new(), &held(150), Duration::from_secs(10));
        assert!(
            edges.iter().all(|edge| edge.requests_per_second < 1e-9),
            "{edges:?}"
        );
    }
}
