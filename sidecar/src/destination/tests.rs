use netting_proto::v1;
use netting_telemetry::{Metrics, traffic::TrafficMetrics};
use tokio::time::Instant;

use super::{record::AVOID_AFTER_FAILURE, *};
use crate::{addr::OriginalDst, ejection::Outcome};

mod balance;
mod closeness;
mod ejection;

fn addr(text: &str) -> EndpointAddr {
    EndpointAddr(text.parse().expect("a literal address"))
}

fn endpoint(at: &str) -> v1::Endpoint {
    v1::Endpoint {
        address: Some(addr(at).0.into()),
        ready: true,
        serving: true,
        weight: 1,
        ..Default::default()
    }
}

fn terminating(at: &str) -> v1::Endpoint {
    v1::Endpoint {
        ready: false,
        terminating: true,
        ..endpoint(at)
    }
}

fn on_node(at: &str, node: &str) -> v1::Endpoint {
    v1::Endpoint {
        node: node.to_owned(),
        ..endpoint(at)
    }
}

fn service(node_local: bool, endpoints: Vec<v1::Endpoint>) -> v1::Snapshot {
    v1::Snapshot {
        destination: Some(v1::Destination {
            node_local,
            ..Default::default()
        }),
        endpoints,
        hash: b"one".to_vec(),
        ..Default::default()
    }
}

fn destination(endpoints: Vec<v1::Endpoint>) -> Destination {
    Destination::from_snapshot(service(false, endpoints), None, &Place::default())
        .expect("a good snapshot")
}

fn chosen(destination: &Destination) -> Option<EndpointAddr> {
    destination
        .choose(Unit::Connection, &[], Instant::now())
        .map(|chosen| chosen.addr())
}

#[test]
fn refuses_a_snapshot_without_a_destination() {
    let snapshot = v1::Snapshot {
        destination: None,
        ..service(false, vec![])
    };
    let refused = Destination::from_snapshot(snapshot, None, &Place::default());
    assert_eq!(refused.err(), Some(BadUpdate::NoDestination));
}

#[test]
fn refuses_a_delta_for_another_state() {
    let delta = v1::Delta {
        base_hash: b"other".to_vec(),
        ..Default::default()
    };
    let refused = destination(vec![]).with_delta(delta, &Place::default());
    assert_eq!(refused.err(), Some(BadUpdate::OtherBase));
}

#[test]
fn leaves_out_a_garbage_endpoint_and_keeps_the_rest() {
    let garbage = v1::Endpoint {
        address: Some(v1::Address {
            ip: vec![1, 2, 3],
            port: 80,
        }),
        ..endpoint("10.0.0.9:1")
    };
    let nowhere = v1::Endpoint {
        address: None,
        ..endpoint("10.0.0.9:1")
    };
    let destination = destination(vec![garbage, nowhere, endpoint("10.0.0.1:80")]);
    assert_eq!(destination.endpoints.len(), 1);
    assert_eq!(chosen(&destination), Some(addr("10.0.0.1:80")));
}

#[test]
fn without_endpoints_there_is_nothing_to_choose() {
    let empty = destination(vec![]);
    assert_eq!(chosen(&empty), None);
}

#[test]
fn a_terminating_endpoint_serves_only_when_none_is_ready() {
    let both = destination(vec![terminating("10.0.0.1:80"), endpoint("10.0.0.2:80")]);
    for _ in 0..100 {
        assert_eq!(chosen(&both), Some(addr("10.0.0.2:80")));
    }
    let last = destination(vec![terminating("10.0.0.1:80")]);
    assert_eq!(chosen(&last), Some(addr("10.0.0.1:80")));
    let gone = v1::Endpoint {
        serving: false,
        ..terminating("10.0.0.1:80")
    };
    assert_eq!(chosen(&destination(vec![gone])), None);
}

#[test]
fn node_local_services_stay_on_the_node() {
    let endpoints = vec![
        on_node("10.0.0.1:80", "a"),
        on_node("10.0.0.2:80", "b"),
        endpoint("10.0.0.3:80"),
    ];
    let on = |node: &str| {
        let snapshot = service(true, endpoints.clone());
        let place = Place {
            node: node.to_owned(),
            ..Place::default()
        };
        let destination = Destination::from_snapshot(snapshot, None, &place);
        chosen(&destination.expect("a good snapshot"))
    };
    assert_eq!(on("b"), Some(addr("10.0.0.2:80")));
    assert_eq!(on("c"), None);
    assert_eq!(
        on(""),
        None,
        "a sidecar that does not know its node may use none"
    );
}

#[test]
fn prefers_the_one_of_two_with_fewer_connections() {
    let two = destination(vec![endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")]);
    let held: Vec<_> = (0..100)
        .filter_map(|_| two.choose(Unit::Connection, &[], Instant::now()))
        .collect();
    assert_eq!(held.len(), 100);
    let open: Vec<_> = two
        .endpoints
        .iter()
        .map(|endpoint| endpoint.open())
        .collect();
    assert_eq!(open, [50, 50]);
    drop(held);
    assert_eq!(two.endpoints[0].open() + two.endpoints[1].open(), 0);
}

#[test]
fn many_equal_endpoints_share_evenly() {
    let ten = destination(
        (1..=10)
            .map(|n| endpoint(&format!("10.0.0.{n}:80")))
            .collect(),
    );
    let held: Vec<_> = (0..1000)
        .filter_map(|_| ten.choose(Unit::Connection, &[], Instant::now()))
        .collect();
    assert_eq!(held.len(), 1000);
    for endpoint in &ten.endpoints {
        assert!(
            (95..=105).contains(&endpoint.open()),
            "{} {}",
            endpoint.addr,
            endpoint.open()
        );
    }
}

#[test]
fn weight_is_a_share_of_connections() {
    let heavy = v1::Endpoint {
        weight: 3,
        ..endpoint("10.0.0.1:80")
    };
    let two = destination(vec![heavy, endpoint("10.0.0.2:80")]);
    let held: Vec<_> = (0..100)
        .filter_map(|_| two.choose(Unit::Connection, &[], Instant::now()))
        .collect();
    assert_eq!(held.len(), 100);
    let open: Vec<_> = two
        .endpoints
        .iter()
        .map(|endpoint| endpoint.open())
        .collect();
    assert_eq!(open, [75, 25]);
}

#[test]
fn a_retry_goes_to_another_endpoint() {
    let two = destination(vec![endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")]);
    for _ in 0..100 {
        let retry = two.choose(Unit::Connection, &[addr("10.0.0.1:80")], Instant::now());
        assert_eq!(retry.map(|chosen| chosen.addr()), Some(addr("10.0.0.2:80")));
    }
    let one = destination(vec![endpoint("10.0.0.1:80")]);
    assert!(
        one.choose(Unit::Connection, &[addr("10.0.0.1:80")], Instant::now())
            .is_none()
    );
}

#[test]
fn an_endpoint_that_failed_is_left_alone_for_a_while() {
    let now = Instant::now();
    let two = destination(vec![endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")]);
    let failed = two
        .choose(Unit::Connection, &[], now)
        .expect("two to choose from");
    failed.failed(now);
    for _ in 0..100 {
        let next = two
            .choose(Unit::Connection, &[], now)
            .expect("another to choose");
        assert_ne!(next.addr(), failed.addr());
    }
    let other = two
        .choose(Unit::Connection, &[failed.addr()], now)
        .expect("another to choose");
    other.failed(now);
    assert!(
        two.choose(Unit::Connection, &[], now).is_some(),
        "all of them failed: any may have recovered"
    );
    let later = now + AVOID_AFTER_FAILURE;
    assert!((0..100).any(
        |_| two.choose(Unit::Connection, &[], later).map(|c| c.addr()) == Some(failed.addr())
    ));
}

#[test]
fn an_update_keeps_the_load_of_endpoints_that_stay() {
    let before = destination(vec![endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")]);
    let held = before.choose(Unit::Connection, &[addr("10.0.0.2:80")], Instant::now());
    let delta = v1::Delta {
        base_hash: b"one".to_vec(),
        hash: b"two".to_vec(),
        upserted: vec![terminating("10.0.0.1:80"), endpoint("10.0.0.3:80")],
        removed: vec![addr("10.0.0.2:80").0.into()],
        ..Default::default()
    };
    let after = before
        .with_delta(delta, &Place::default())
        .expect("a good delta");
    let addrs: Vec<_> = after
        .endpoints
        .iter()
        .map(|endpoint| endpoint.addr)
        .collect();
    assert_eq!(addrs, [addr("10.0.0.1:80"), addr("10.0.0.3:80")]);
    assert_eq!(after.hash, b"two");
    assert_eq!(after.endpoints[0].open(), 1);
    assert!(after.endpoints[0].terminating);
    drop(held);
    assert_eq!(after.endpoints[0].open(), 0);
    let again = Destination::from_snapshot(
        service(false, vec![endpoint("10.0.0.1:80")]),
        Some(&after),
        &Place::default(),
    );
    assert!(Arc::ptr_eq(
        &again.expect("a good snapshot").endpoints[0].record,
        &after.endpoints[0].record
    ));
}

#[test]
fn an_address_that_passes_to_another_service_takes_nothing_along() {
    let named = |namespace: &str, name: &str| v1::Destination {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    };
    let snapshot = |destination: v1::Destination| v1::Snapshot {
        destination: Some(destination),
        ..service(false, vec![endpoint("10.0.0.1:80")])
    };
    let own = Place::default();
    let before = Destination::from_snapshot(snapshot(named("shop", "a")), None, &own);
    let before = before.expect("a good snapshot");
    let _waiting = before.admit();
    let pod = v1::Destination {
        kind: v1::DestinationKind::Workload.into(),
        ..named("shop", "a")
    };
    for (now, waiting) in [
        (named("shop", "a"), 1),
        (named("shop", "b"), 0),
        (named("other", "a"), 0),
        (pod, 0),
    ] {
        let after = Destination::from_snapshot(snapshot(now.clone()), Some(&before), &own);
        assert_eq!(
            after.expect("a good snapshot").waiting(),
            waiting,
            "{now:?}"
        );
        let delta = v1::Delta {
            base_hash: before.hash.clone(),
            destination: Some(now.clone()),
            ..Default::default()
        };
        let after = before.with_delta(delta, &own).expect("a good delta");
        assert_eq!(after.waiting(), waiting, "{now:?}");
    }
}

#[test]
fn endpoints_of_one_owner_share_their_instruments_until_they_are_another_services() {
    let endpoint = |at: &str| v1::Endpoint {
        workload: Some(v1::Workload {
            owner_kind: "Deployment".to_owned(),
            owner_name: "reviews-v1".to_owned(),
            ..Default::default()
        }),
        ..endpoint(at)
    };
    let metrics = Metrics::new("test", "0");
    let peers = TrafficMetrics::register(&metrics);
    let at = OriginalDst(addr("10.96.0.1:80").0);
    let before = destination(vec![endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")]);
    let all = before.traffic(&peers, at);
    let ptr = |endpoint: &Endpoint, all: &Traffic| std::ptr::from_ref(&**endpoint.traffic(all));
    let [first, second] = &before.endpoints[..] else {
        panic!("there are two");
    };
    assert_eq!(ptr(first, &all), ptr(second, &all));
    assert_ne!(ptr(first, &all), std::ptr::from_ref(&*all));
    let delta = v1::Delta {
        base_hash: before.hash.clone(),
        destination: Some(v1::Destination {
            name: "ratings".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let after = before.with_delta(delta, &Place::default());
    let after = after.expect("a good delta");
    let others = after.traffic(&peers, at);
    after.endpoints[0].traffic(&others).sent(1);
    let exposition = metrics.expose();
    let sent = exposition
        .lines()
        .find(|line| line.starts_with("netting_tcp_sent"));
    let sent = sent.expect("it is counted");
    assert!(sent.contains("service_peer_name=\"ratings\""), "{sent}");
}
