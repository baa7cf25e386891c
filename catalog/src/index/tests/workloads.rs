//! Pods' own addresses.

use serde_json::{Value, json};

use crate::test_cluster::{Cluster, member, pod, service, slice, with};

fn behind(service: &str, ports: Value, endpoint: Value) -> Value {
    slice(&format!("{service}-a"), service, ports, json!([endpoint]))
}

fn headless(name: &str, ports: Value) -> Value {
    service(name, "None", ports)
}

fn http() -> Value {
    json!([{"name": "http", "port": 8080}])
}

#[test]
fn knows_nothing_of_an_endpoint_that_is_no_pod() {
    let cluster = Cluster::of(&[
        service("db", "10.96.0.1", http()),
        behind("db", http(), json!({"addresses": ["192.0.2.1"]})),
    ]);
    assert_eq!(cluster.look("192.0.2.1:8080"), ["unknown"]);
}

#[test]
fn knows_a_pod_behind_a_service_at_that_port_alone() {
    let cluster = Cluster::of(&[
        headless("cart", http()),
        behind("cart", http(), member("10.244.0.1", "cart-1")),
    ]);
    let state = [
        "workload shop/cart-1 (http)",
        "10.244.0.1:8080 ready serving shop/cart-1",
    ];
    assert_eq!(cluster.look("10.244.0.1:8080"), state);
    assert_eq!(cluster.look("10.244.0.1:22"), ["unknown"]);
}

#[test]
fn knows_a_meshed_pod_at_every_port() {
    let cluster = Cluster::of(&[pod("job-1", "10.244.0.1")]);
    let state = [
        "workload shop/job-1",
        "10.244.0.1:4444 ready serving shop/job-1 meshed as default node-a",
    ];
    assert_eq!(cluster.look("10.244.0.1:4444"), state);
}

#[test]
fn a_pod_that_is_not_meshed_is_not_taken_for_one() {
    let plain = with(
        pod("job-1", "10.244.0.1"),
        "/metadata/labels",
        json!({"netting.dev/injected": "false"}),
    );
    assert_eq!(Cluster::of(&[plain]).look("10.244.0.1:80"), ["unknown"]);
}

#[test]
fn a_pod_that_has_ended_gives_its_ip_back() {
    for phase in ["Succeeded", "Failed"] {
        let ended = with(pod("job-1", "10.244.0.1"), "/status/phase", json!(phase));
        let mut cluster = Cluster::of(&[pod("job-1", "10.244.0.1"), pod("job-2", "10.244.0.2")]);
        cluster.apply(&ended);
        assert_eq!(cluster.look("10.244.0.1:80"), ["unknown"], "{phase}");
    }
}

#[test]
fn readiness_changes_nothing_at_a_pods_own_address() {
    let mut cluster = Cluster::of(&[
        headless("cart", http()),
        behind("cart", http(), member("10.244.0.1", "cart-1")),
    ]);
    let before = cluster
        .index
        .lookup("10.244.0.1:8080".parse().expect("an address"));
    let conditions = json!({"ready": false, "serving": false, "terminating": true});
    let ending = with(member("10.244.0.1", "cart-1"), "/conditions", conditions);
    cluster.apply(&behind("cart", http(), ending));
    let after = cluster
        .index
        .lookup("10.244.0.1:8080".parse().expect("an address"));
    assert!(before.is_some());
    assert_eq!(before, after);
}

#[test]
fn the_service_says_what_its_pods_speak() {
    let unsaid = json!([{"name": "web", "port": 8080}]);
    let said = json!([{"name": "web", "port": 80, "appProtocol": "http"}]);
    let mut cluster = Cluster::of(&[behind(
        "cart",
        unsaid.clone(),
        member("10.244.0.1", "cart-1"),
    )]);
    assert_eq!(cluster.look("10.244.0.1:8080")[0], "workload shop/cart-1");
    let changes = cluster.apply(&headless("cart", said));
    assert!(
        changes.ips.contains(&"10.244.0.1".parse().expect("an IP")),
        "{changes:?}"
    );
    assert_eq!(
        cluster.look("10.244.0.1:8080")[0],
        "workload shop/cart-1 (http)"
    );
    // The port's own number at the service has nothing to do with the pod's.
    assert_eq!(cluster.look("10.244.0.1:80"), ["unknown"]);
}

#[test]
fn services_that_disagree_on_a_protocol_are_heard_by_name() {
    let port = |protocol: &str| json!([{"name": "p", "port": 8080, "appProtocol": protocol}]);
    let silent = json!([{"name": "p", "port": 8080}]);
    let objects = [
        behind("c", port("tls"), member("10.244.0.1", "cart-1")),
        behind("b", port("http"), member("10.244.0.1", "cart-1")),
        behind("a", silent, member("10.244.0.1", "cart-1")),
    ];
    let cluster = Cluster::of(&objects);
    assert_eq!(
        cluster.look("10.244.0.1:8080")[0],
        "workload shop/cart-1 (http)"
    );
}

#[test]
fn another_namespace_does_not_say_what_a_pod_speaks() {
    let port = |protocol: &str| json!([{"name": "p", "port": 5432, "appProtocol": protocol}]);
    let elsewhere = |protocol: &str, endpoint: Value| {
        let slice = behind("evil", port(protocol), endpoint);
        with(slice, "/metadata/namespace", json!("aaa"))
    };
    let plain = [
        behind("db", port("tcp"), member("10.244.0.1", "db-0")),
        // It names the pod as its own Service would.
        elsewhere("http", member("10.244.0.1", "db-0")),
    ];
    assert_eq!(
        Cluster::of(&plain).look("10.244.0.1:5432")[0],
        "workload shop/db-0 (tcp)"
    );
    let unnamed = json!({"addresses": ["10.244.0.1"]});
    let meshed = [pod("db-0", "10.244.0.1"), elsewhere("http", unnamed)];
    assert_eq!(
        Cluster::of(&meshed).look("10.244.0.1:5432")[0],
        "workload shop/db-0"
    );
}

#[test]
fn a_pod_in_its_nodes_network_is_known_at_its_own_port_alone() {
    let cluster = Cluster::of(&[
        behind("agent", http(), member("192.168.0.7", "agent-x")),
        behind(
            "probe",
            json!([{"name": "p", "port": 9100}]),
            member("192.168.0.7", "probe-y"),
        ),
    ]);
    assert_eq!(
        cluster.look("192.168.0.7:8080")[0],
        "workload shop/agent-x (http)"
    );
    assert_eq!(cluster.look("192.168.0.7:9100")[0], "workload shop/probe-y");
    assert_eq!(cluster.look("192.168.0.7:22"), ["unknown"]);
}

#[test]
fn an_ip_that_is_used_again_is_the_younger_pods() {
    let born = |object: Value, time: &str| with(object, "/metadata/creationTimestamp", json!(time));
    let old = born(pod("old", "10.244.0.1"), "2026-01-01T00:00:00Z");
    let new = born(pod("new", "10.244.0.1"), "2026-01-02T00:00:00Z");
    let mut cluster = Cluster::of(&[new.clone(), old]);
    assert_eq!(cluster.look("10.244.0.1:80")[0], "workload shop/new");
    cluster.delete(&new);
    assert_eq!(cluster.look("10.244.0.1:80")[0], "workload shop/old");
}

#[test]
fn an_ip_that_is_used_again_is_of_the_pod_that_came_to_its_node_last() {
    let dated = |name: &str, created: &str, started: &str| {
        let dated = with(
            pod(name, "10.244.0.1"),
            "/metadata/creationTimestamp",
            json!(created),
        );
        with(dated, "/status/startTime", json!(started))
    };
    // It waited for a node until the other, which is younger, had given its IP back.
    let waited = dated("waited", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z");
    let gone = dated("gone", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z");
    for order in [[&waited, &gone], [&gone, &waited]] {
        let cluster = Cluster::of(&order.map(Value::clone));
        assert_eq!(cluster.look("10.244.0.1:80")[0], "workload shop/waited");
    }
}

#[test]
fn a_pod_that_is_being_deleted_gives_its_ip_to_any_that_is_not() {
    let born = |object: Value, time: &str| with(object, "/status/startTime", json!(time));
    let stays = born(pod("stays", "10.244.0.1"), "2026-01-01T00:00:00Z");
    let goes = born(pod("goes", "10.244.0.1"), "2026-01-02T00:00:00Z");
    let mut cluster = Cluster::of(&[stays.clone(), goes.clone()]);
    assert_eq!(cluster.look("10.244.0.1:80")[0], "workload shop/goes");
    let time = json!("2026-01-03T00:00:00Z");
    let changes = cluster.apply(&with(goes, "/metadata/deletionTimestamp", time));
    assert!(!changes.is_empty());
    assert_eq!(cluster.look("10.244.0.1:80")[0], "workload shop/stays");
    cluster.delete(&stays);
    assert_eq!(cluster.look("10.244.0.1:80")[0], "workload shop/goes");
}

#[test]
fn an_address_that_several_pods_share_is_none_of_theirs() {
    let shared = |a: &str, b: &str| {
        slice(
            "agent-a",
            "agent",
            http(),
            json!([member("192.168.0.7", a), member("192.168.0.7", b)]),
        )
    };
    let mut cluster = Cluster::of(&[
        service("agent", "10.96.0.1", http()),
        shared("agent-x", "agent-y"),
    ]);
    assert_eq!(cluster.look("192.168.0.7:8080"), ["unknown"]);
    let endpoint = "192.168.0.7:8080 ready serving";
    assert_eq!(
        cluster.look("10.96.0.1:8080"),
        ["service shop/agent http (http)", endpoint]
    );
    // One that moves from slice to slice is in both for a while, and no other one.
    cluster.apply(&shared("agent-x", "agent-x"));
    assert_eq!(
        cluster.look("192.168.0.7:8080")[0],
        "workload shop/agent-x (http)"
    );
}

#[test]
fn an_address_is_the_live_pods_while_the_one_before_it_is_still_listed() {
    let ending = with(
        member("192.168.0.7", "old"),
        "/conditions",
        json!({"ready": false, "serving": false, "terminating": true}),
    );
    let both = json!([ending, member("192.168.0.7", "new")]);
    let cluster = Cluster::of(&[slice("a", "agent", http(), both)]);
    assert_eq!(
        cluster.look("192.168.0.7:8080")[0],
        "workload shop/new (http)"
    );
}

#[test]
fn both_addresses_of_a_pod_are_the_pods() {
    let dual = with(
        pod("cart-1", ""),
        "/status/podIPs",
        json!([{"ip": "10.244.0.1"}, {"ip": "fd00:244::1"}]),
    );
    let cluster = Cluster::of(&[dual]);
    assert_eq!(cluster.look("10.244.0.1:80")[0], "workload shop/cart-1");
    assert_eq!(cluster.look("[fd00:244::1]:80")[0], "workload shop/cart-1");
}
