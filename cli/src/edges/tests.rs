//! Edges, from what sidecars tell.

use serde_json::json;

use super::*;
use crate::traffic::{Histogram, Series, Way};

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
    let ended = requests as f64;
    let mut durations = Histogram::default();
    durations.add(0.1, ended);
    let echo = Series {
        way: Way::To(Peer {
            namespace: "shop".to_owned(),
            name: "echo".to_owned(),
            port: 80,
        }),
        name: "http_client_request_duration_seconds{}".to_owned(),
    };
    let requests = Requests {
        ended,
        failed: ended / 10.0,
        durations,
    };
    let sidecar = Sidecar {
        workload: client,
        config,
        counted: Counted {
            requests: [(echo, requests)].into(),
            ..Counted::default()
        },
    };
    ["shop/web-1", "shop/web-2"]
        .map(|name| (name.to_owned(), sidecar.clone()))
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
    assert!(echo.success.is_some_and(|share| (share - 0.9).abs() < 1e-9));
    assert!(
        echo.p50_ms
            .is_some_and(|millis| (millis - 50.0).abs() < 1e-9)
    );
    let table = table(&edges).render(false, false);
    assert!(table.contains("passed through"), "{table}");
    assert!(table.contains("2 (1 ejected)"), "{table}");
}

#[test]
fn a_pod_counts_once_for_a_server_with_several_addresses() {
    let both = |requests| {
        let mut held = held(requests);
        let web_1 = held.get_mut("shop/web-1").expect("it is there");
        let destinations = &mut web_1.config.destinations;
        destinations.push(Destination {
            address: "[fd00::7]:80".to_owned(),
            ..destinations[0].clone()
        });
        destinations.extend([2379, 2380].map(|port| Destination {
            address: format!("10.0.0.9:{port}"),
            kind: "workload".to_owned(),
            namespace: "shop".to_owned(),
            name: "etcd-0".to_owned(),
            ..Destination::default()
        }));
        let web_2 = held.get_mut("shop/web-2").expect("it is there");
        for requests in web_2.counted.requests.values_mut() {
            requests.failed = 0.0;
        }
        held
    };
    let edges = edges(&both(100), &both(150), Duration::from_secs(10));
    let pods: Vec<_> = edges
        .iter()
        .map(|edge| (edge.server.as_str(), edge.pods))
        .collect();
    let (etcd, echo) = (("pod shop/etcd-0", 1), ("shop/echo:http", 2));
    assert_eq!(pods, [("1.2.3.4:443", 2), etcd, echo]);
    // Five of the hundred failed: what web-1 has counted by name is of both addresses.
    let success = edges[2].success;
    assert!(success.is_some_and(|share| (share - 0.95).abs() < 1e-9));
}

#[test]
fn a_pod_that_is_new_has_not_done_anything_yet() {
    let edges = edges(&Held::new(), &held(150), Duration::from_secs(10));
    assert!(
        edges.iter().all(|edge| edge.requests_per_second < 1e-9),
        "{edges:?}"
    );
}

#[test]
fn an_endpoint_that_went_takes_nothing_from_the_others() {
    let mut after = held(150);
    for sidecar in after.values_mut() {
        let echo = &mut sidecar.config.destinations[0];
        // It had ten requests, and its successor has had one.
        echo.endpoints[1].address = "10.0.0.9:80".to_owned();
        echo.endpoints[1].requests_total = 1;
    }
    let edges = edges(&held(145), &after, Duration::from_secs(1));
    let rate = edges[1].requests_per_second;
    assert!((rate - 12.0).abs() < 1e-9, "{rate}");
}
