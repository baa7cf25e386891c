//! Zones, nodes, hints and affinity.

use std::time::Duration;

use super::*;

fn at(address: &str, node: &str, zone: &str) -> v1::Endpoint {
    v1::Endpoint {
        zone: zone.to_owned(),
        ..on_node(address, node)
    }
}

fn hinted(address: &str, zones: &[&str], nodes: &[&str]) -> v1::Endpoint {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    v1::Endpoint {
        for_zones: owned(zones),
        for_nodes: owned(nodes),
        ..endpoint(address)
    }
}

fn here() -> Place {
    Place {
        node: "node-1".to_owned(),
        zone: "zone-1".to_owned(),
    }
}

fn preferring(
    distribution: v1::TrafficDistribution,
    endpoints: Vec<v1::Endpoint>,
    own: &Place,
) -> Destination {
    let mut snapshot = service(false, endpoints);
    if let Some(destination) = &mut snapshot.destination {
        destination.set_traffic_distribution(distribution);
    }
    Destination::from_snapshot(snapshot, None, own).expect("a good snapshot")
}

/// The addresses that are chosen, when each choice ends at once.
fn used(destination: &Destination) -> Vec<String> {
    let choices = (0..200).filter_map(|_| chosen(destination));
    let mut used: Vec<_> = choices.map(|addr| addr.to_string()).collect();
    used.sort();
    used.dedup();
    used
}

fn spread() -> Vec<v1::Endpoint> {
    vec![
        at("10.0.0.1:80", "node-1", "zone-1"),
        at("10.0.0.2:80", "node-2", "zone-1"),
        at("10.0.0.3:80", "node-3", "zone-2"),
    ]
}

const ALL: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

#[test]
fn a_service_without_a_preference_uses_all_endpoints() {
    let any = v1::TrafficDistribution::Unspecified;
    assert_eq!(used(&preferring(any, spread(), &here())), ALL);
}

#[test]
fn a_sidecar_that_does_not_know_where_it_is_uses_all_endpoints() {
    let zone = v1::TrafficDistribution::PreferSameZone;
    assert_eq!(used(&preferring(zone, spread(), &Place::default())), ALL);
    let nowhere = vec![at("10.0.0.1:80", "", ""), at("10.0.0.2:80", "", "")];
    assert_eq!(
        used(&preferring(zone, nowhere, &Place::default())),
        ALL[..2]
    );
}

#[test]
fn prefers_the_zone_or_the_node_as_the_service_says() {
    let zone = v1::TrafficDistribution::PreferSameZone;
    assert_eq!(used(&preferring(zone, spread(), &here())), ALL[..2]);
    let node = v1::TrafficDistribution::PreferSameNode;
    assert_eq!(used(&preferring(node, spread(), &here())), ALL[..1]);
    let elsewhere = Place {
        node: "node-9".to_owned(),
        ..here()
    };
    assert_eq!(used(&preferring(node, spread(), &elsewhere)), ALL[..2]);
    let abroad = Place {
        zone: "zone-9".to_owned(),
        ..elsewhere
    };
    assert_eq!(used(&preferring(node, spread(), &abroad)), ALL);
}

#[test]
fn says_which_endpoints_are_used_and_which_preferred() {
    let mut endpoints = spread();
    endpoints[1].ready = false;
    let zone = v1::TrafficDistribution::PreferSameZone;
    let destination = preferring(zone, endpoints.clone(), &here());
    let standings = |destination: &Destination| {
        let endpoints = destination.endpoints.iter();
        let standings = endpoints.map(|one| destination.standing(one.addr).as_str());
        standings.collect::<Vec<_>>()
    };
    assert_eq!(standings(&destination), ["preferred", "unused", "used"]);
    let any = v1::TrafficDistribution::Unspecified;
    let destination = preferring(any, endpoints, &here());
    assert_eq!(standings(&destination), ["used", "unused", "used"]);
}

#[test]
fn learns_later_where_it_is() {
    let zone = v1::TrafficDistribution::PreferSameZone;
    let destination = preferring(zone, spread(), &Place::default());
    assert_eq!(used(&destination.seen_from(&here())), ALL[..2]);
}

#[test]
fn hints_come_before_the_zones_of_endpoints() {
    let zone = v1::TrafficDistribution::PreferSameZone;
    let hints = vec![
        hinted("10.0.0.1:80", &["zone-2"], &[]),
        hinted("10.0.0.2:80", &["zone-1", "zone-2"], &[]),
    ];
    assert_eq!(used(&preferring(zone, hints, &here())), ALL[1..2]);
    let nodes = vec![
        hinted("10.0.0.1:80", &["zone-1"], &["node-1"]),
        hinted("10.0.0.2:80", &["zone-1"], &["node-2"]),
    ];
    let unspecified = v1::TrafficDistribution::Unspecified;
    assert_eq!(used(&preferring(unspecified, nodes, &here())), ALL[..1]);
}

#[test]
fn hints_that_not_all_endpoints_have_count_for_nothing() {
    let some = vec![
        hinted("10.0.0.1:80", &["zone-1"], &[]),
        endpoint("10.0.0.2:80"),
    ];
    let unspecified = v1::TrafficDistribution::Unspecified;
    assert_eq!(used(&preferring(unspecified, some, &here())), ALL[..2]);
}

fn unready(endpoint: v1::Endpoint) -> v1::Endpoint {
    v1::Endpoint {
        ready: false,
        ..endpoint
    }
}

fn ending(endpoint: v1::Endpoint) -> v1::Endpoint {
    v1::Endpoint {
        terminating: true,
        ..unready(endpoint)
    }
}

/// How many of a thousand choices stay in the zone, where it has so many endpoints that
/// are ready, unready and terminating, and another zone has four.
fn stayed(ready: u8, lost: u8, terminating: u8) -> usize {
    let near = |n: u8| at(&format!("10.0.1.{n}:80"), "", "zone-1");
    let mut endpoints: Vec<_> = (0..ready).map(near).collect();
    endpoints.extend((ready..ready + lost).map(near).map(unready));
    let rest = ready + lost..ready + lost + terminating;
    endpoints.extend(rest.map(near).map(ending));
    endpoints.extend((1..=4).map(|n| at(&format!("10.0.2.{n}:80"), "", "zone-2")));
    let zone = v1::TrafficDistribution::PreferSameZone;
    let destination = preferring(zone, endpoints, &here());
    fastrand::seed(7);
    let is_near = |addr: EndpointAddr| addr.to_string().starts_with("10.0.1.");
    let choices = (0..1000).filter_map(|_| chosen(&destination));
    choices.filter(|addr| is_near(*addr)).count()
}

#[test]
fn leaves_its_zone_as_far_as_that_is_not_ready() {
    // A quarter of the zone is ready, which is taken for 35 %; of the rest a fifth
    // comes here too.
    let stayed = stayed(1, 3, 0);
    assert!((430..=530).contains(&stayed), "{stayed} of 1000");
}

#[test]
fn stays_in_its_zone_while_others_there_terminate() {
    let scaled_down = stayed(4, 0, 6);
    assert_eq!(scaled_down, 1000);
    let (begun, amid) = (stayed(4, 1, 1), stayed(3, 1, 2));
    assert_eq!((begun, amid), (1000, 1000), "a rollout");
}

#[test]
fn leaves_its_zone_as_far_as_that_is_not_ready_whatever_terminates_there() {
    // Of two the share is 70 %, and a third of the rest.
    let stayed = stayed(2, 2, 6);
    assert!((750..=850).contains(&stayed), "{stayed} of 1000");
}

#[test]
fn where_only_those_that_terminate_serve_the_zone_is_left_as_far_as_it_lacks_them() {
    let endpoint = |n: u8, zone| at(&format!("10.0.1.{n}:80"), "", zone);
    let endpoints = vec![
        ending(endpoint(1, "zone-1")),
        unready(endpoint(2, "zone-1")),
        ending(endpoint(3, "zone-2")),
    ];
    let zone = v1::TrafficDistribution::PreferSameZone;
    let both = preferring(zone, endpoints.clone(), &here());
    assert_eq!(used(&both), ["10.0.1.1:80", "10.0.1.3:80"]);
    let near = [&endpoints[..1], &endpoints[2..]].concat();
    assert_eq!(used(&preferring(zone, near, &here())), ["10.0.1.1:80"]);
}

#[test]
fn overflows_when_its_zone_is_overloaded() {
    let zone = v1::TrafficDistribution::PreferSameZone;
    let destination = preferring(zone, spread(), &here());
    let now = Instant::now();
    let held: Vec<_> = (0..100)
        .filter_map(|_| destination.choose(Unit::Request, &[], now))
        .collect();
    let pending: Vec<_> = destination.endpoints.iter().map(|e| e.requests()).collect();
    assert_eq!(held.len(), 100);
    assert!(pending[2] > 0 && pending[2] < pending[0] / 4, "{pending:?}");
}

/// How many requests each endpoint has of a hundred that wait, once each has answered one
/// in so many milliseconds.
fn pending(took_ms: [u64; 3]) -> Vec<usize> {
    let zone = v1::TrafficDistribution::PreferSameZone;
    let destination = preferring(zone, spread(), &here());
    let begun = Instant::now();
    for (at, took) in took_ms.into_iter().enumerate() {
        let others: Vec<_> = ALL.iter().map(|other| addr(other)).collect();
        let others: Vec<_> = others.into_iter().filter(|o| *o != addr(ALL[at])).collect();
        let chosen = destination.choose(Unit::Request, &others, begun);
        let mut request = chosen.expect("there are endpoints").begin(begun);
        assert_eq!(request.addr(), addr(ALL[at]));
        request.record(Outcome::Success, begun + Duration::from_millis(took));
    }
    let now = begun + Duration::from_millis(200);
    let choose = |_| destination.choose(Unit::Request, &[], now);
    let held: Vec<_> = (0..100).filter_map(choose).collect();
    assert_eq!(held.len(), 100);
    destination.endpoints.iter().map(|e| e.requests()).collect()
}

#[test]
fn endpoints_that_are_busy_and_fast_keep_what_is_near() {
    let pending = pending([10, 10, 10]);
    assert_eq!(pending[2], 0, "{pending:?}");
}

#[test]
fn endpoints_that_are_busy_and_slow_leave_some_to_those_that_are_far() {
    let pending = pending([100, 100, 10]);
    assert!(pending[2] > 0 && pending[0] > 0, "{pending:?}");
}

#[test]
fn session_affinity_keeps_this_pod_at_one_endpoint() {
    let mut snapshot = service(
        false,
        (1..=9)
            .map(|n| endpoint(&format!("10.0.0.{n}:80")))
            .collect(),
    );
    if let Some(destination) = &mut snapshot.destination {
        destination.session_affinity_seconds = 60;
    }
    let before = Destination::from_snapshot(snapshot.clone(), None, &Place::default());
    let before = before.expect("a good snapshot");
    let mut now = Instant::now();
    let ask = |destination: &Destination, without: &[EndpointAddr], now| {
        let chosen = destination.choose(Unit::Request, without, now);
        chosen.expect("there are endpoints").addr()
    };
    let first = ask(&before, &[], now);
    for _ in 0..50 {
        now += Duration::from_secs(59);
        assert_eq!(ask(&before, &[], now), first);
    }
    let others = service(
        false,
        (1..=20)
            .map(|n| endpoint(&format!("10.0.0.{n}:80")))
            .collect(),
    );
    let others = v1::Snapshot {
        destination: snapshot.destination,
        ..others
    };
    let after = Destination::from_snapshot(others, Some(&before), &Place::default());
    let after = after.expect("a good snapshot");
    assert_eq!(ask(&after, &[], now), first, "others come and go");
    let second = ask(&after, &[first], now);
    assert_ne!(second, first, "it failed");
    assert_eq!(ask(&after, &[], now), second);
    let later = now + Duration::from_secs(60);
    let moved = (0..50).any(|n| ask(&after, &[], later + Duration::from_secs(60 * n)) != second);
    assert!(moved, "it has been away too long");
}
