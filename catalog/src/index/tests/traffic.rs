//! How traffic is spread and treated, and where sidecars are.

use serde_json::{Value, json};

use crate::test_cluster::{Cluster, addr, member, pod, service, slice, with};

fn http() -> Value {
    json!([{"name": "http", "port": 80}])
}

fn cart() -> Value {
    service("cart", "10.96.0.1", http())
}

fn annotated(annotations: Value) -> Value {
    with(cart(), "/metadata/annotations", annotations)
}

#[test]
fn says_which_endpoints_a_service_prefers() {
    for (distribution, expected) in [
        ("PreferClose", "service shop/cart http (http) same-zone"),
        ("PreferSameZone", "service shop/cart http (http) same-zone"),
        ("PreferSameNode", "service shop/cart http (http) same-node"),
        ("PreferTheMoon", "service shop/cart http (http)"),
    ] {
        let preferring = with(cart(), "/spec/trafficDistribution", json!(distribution));
        let cluster = Cluster::of(&[preferring]);
        assert_eq!(cluster.look("10.96.0.1:80"), [expected]);
    }
}

#[test]
fn says_for_how_long_a_client_stays_at_an_endpoint() {
    for (config, seconds) in [
        (json!(null), "10800"),
        (json!({"clientIP": {"timeoutSeconds": 60}}), "60"),
        (json!({"clientIP": {"timeoutSeconds": 0}}), "10800"),
        (json!({"clientIP": {"timeoutSeconds": -5}}), "10800"),
        (json!({"clientIP": {"timeoutSeconds": 86_401}}), "10800"),
    ] {
        let sticky = with(cart(), "/spec/sessionAffinity", json!("ClientIP"));
        let sticky = with(sticky, "/spec/sessionAffinityConfig", config);
        let cluster = Cluster::of(&[sticky]);
        let expected = format!("service shop/cart http (http) affinity={seconds}");
        assert_eq!(cluster.look("10.96.0.1:80"), [expected]);
    }
}

#[test]
fn a_services_annotations_are_its_policy_and_change_its_state() {
    let mut cluster = Cluster::of(&[cart()]);
    let hash = |cluster: &Cluster| cluster.index.lookup(addr("10.96.0.1:80")).map(|s| s.hash);
    let mut hashes = vec![hash(&cluster)];
    for (annotation, value, expected) in [
        ("timeout", "5s", " timeout=5s"),
        ("per-try-timeout", "5s", " per-try-timeout=5s"),
        ("eject-for", "5s", " eject-for=5s"),
        ("retries", "5", " retries=5"),
        ("max-pending", "5", " max-pending=5"),
        ("eject-after", "5", " eject-after=5"),
        ("eject-gap", "5", " eject-gap=5%"),
        ("retry-on", "503", " retry-on=503"),
        ("retry-on", "503,504", " retry-on=503,504"),
        ("retry-on", "unavailable", " retry-on=unavailable"),
        ("retry-on", "often", " retry-on="),
        ("retries", "many", ""),
    ] {
        let name = format!("netting.dev/{annotation}");
        cluster.apply(&annotated(json!({ name: value })));
        let line = format!("service shop/cart http (http){expected}");
        assert_eq!(cluster.look("10.96.0.1:80"), [line]);
        hashes.push(hash(&cluster));
    }
    let plain = hashes.pop();
    assert_eq!(plain, Some(hashes[0]), "what is ignored changes nothing");
    let different: std::collections::HashSet<_> = hashes.iter().map(|h| format!("{h:?}")).collect();
    assert_eq!(different.len(), hashes.len());
}

#[test]
fn endpoints_carry_the_hints_of_their_slice() {
    let hinted = |zones: Value, nodes: Value| {
        let endpoint = json!({
            "addresses": ["10.244.0.1"],
            "hints": {"forZones": zones, "forNodes": nodes},
        });
        slice(
            "a",
            "cart",
            json!([{"name": "http", "port": 8080}]),
            json!([endpoint]),
        )
    };
    let mut cluster = Cluster::of(&[cart()]);
    for (zones, nodes, expected) in [
        (json!(null), json!(null), ""),
        (json!([]), json!([]), ""),
        (
            json!([{"name": "b"}, {"name": "a"}]),
            json!(null),
            " for a for b",
        ),
        (
            json!([{"name": "a"}]),
            json!([{"name": "node-1"}]),
            " for a for node-1",
        ),
    ] {
        let before = cluster
            .index
            .lookup(addr("10.96.0.1:80"))
            .map(|state| state.hash);
        cluster.apply(&hinted(zones, nodes));
        let line = format!("10.244.0.1:8080 ready serving{expected}");
        assert_eq!(cluster.look("10.96.0.1:80")[1], line);
        let after = cluster
            .index
            .lookup(addr("10.96.0.1:80"))
            .map(|state| state.hash);
        assert!(expected.is_empty() || after != before);
    }
}

#[test]
fn the_zone_of_a_node_is_known_by_what_runs_there() {
    let on = |node: &str, zone: &str| {
        let mut endpoint = member("10.244.0.1", "cart-1");
        endpoint["nodeName"] = json!(node);
        endpoint["zone"] = json!(zone);
        slice("a", "cart", http(), json!([endpoint]))
    };
    let mut cluster = Cluster::default();
    let zone = |cluster: &Cluster, node: &str| cluster.index.zone_of(node).map(ToString::to_string);
    cluster.apply(&on("node-b", ""));
    assert_eq!(zone(&cluster, "node-b"), None);
    cluster.apply(&on("node-b", "zone-1"));
    assert_eq!(zone(&cluster, "node-b").as_deref(), Some("zone-1"));
    let labels = json!({"netting.dev/injected": "true", "topology.kubernetes.io/zone": "zone-2"});
    cluster.apply(&with(
        pod("shelf-1", "10.244.0.2"),
        "/metadata/labels",
        labels,
    ));
    assert_eq!(zone(&cluster, "node-a").as_deref(), Some("zone-2"));
    let _ = cluster.index.reset_slices(Vec::new());
    assert_eq!(zone(&cluster, "node-b"), None, "nobody knows it any more");
    assert_eq!(zone(&cluster, "node-a").as_deref(), Some("zone-2"));
}

#[test]
fn nodes_that_are_gone_are_forgotten_before_they_are_many() {
    let mut cluster = Cluster::default();
    for node in 0..10_000 {
        let mut endpoint = member("10.244.0.1", "cart-1");
        endpoint["nodeName"] = json!(format!("node-{node}"));
        endpoint["zone"] = json!("zone-1");
        cluster.apply(&slice("a", "cart", http(), json!([endpoint])));
    }
    assert!(cluster.index.nodes() < 2000, "{}", cluster.index.nodes());
    let zone = cluster.index.zone_of("node-9999").map(ToString::to_string);
    assert_eq!(zone.as_deref(), Some("zone-1"), "something runs there");
}
