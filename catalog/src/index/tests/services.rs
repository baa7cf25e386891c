//! Cluster IPs.

use serde_json::{Value, json};

use crate::test_cluster::{Cluster, key, member, pod, service, slice, with};

fn http_80() -> Value {
    json!([{"name": "http", "port": 80}])
}

fn http_8080() -> Value {
    json!([{"name": "http", "port": 8080}])
}

fn cart() -> Value {
    service("cart", "10.96.0.1", http_80())
}

fn endpoints(name: &str, subsets: Value) -> Value {
    json!({
        "kind": "Endpoints",
        "metadata": {"namespace": "shop", "name": name},
        "subsets": subsets,
    })
}

const EMPTY: [&str; 1] = ["service shop/cart http (http)"];

#[test]
fn knows_nothing_of_an_external_name() {
    let external = json!({
        "kind": "Service",
        "metadata": {"namespace": "shop", "name": "outside"},
        "spec": {"type": "ExternalName", "externalName": "db.example.com"},
    });
    let mut cluster = Cluster::of(&[service("outside", "10.96.0.9", http_80())]);
    assert_ne!(cluster.look("10.96.0.9:80"), ["unknown"]);
    cluster.apply(&external);
    assert_eq!(cluster.look("10.96.0.9:80"), ["unknown"]);
}

#[test]
fn knows_nothing_of_a_port_that_the_service_does_not_have() {
    let cluster = Cluster::of(&[cart()]);
    assert_eq!(cluster.look("10.96.0.1:81"), ["unknown"]);
}

#[test]
fn knows_nothing_at_a_service_without_ports() {
    let cluster = Cluster::of(&[service("cart", "10.96.0.1", json!([]))]);
    assert_eq!(cluster.look("10.96.0.1:80"), ["unknown"]);
}

#[test]
fn a_service_without_endpoints_is_known_and_empty() {
    assert_eq!(Cluster::of(&[cart()]).look("10.96.0.1:80"), EMPTY);
    let nothing = slice("a", "cart", json!(null), json!(null));
    assert_eq!(Cluster::of(&[cart(), nothing]).look("10.96.0.1:80"), EMPTY);
}

#[test]
fn matches_ports_by_name_not_by_number() {
    let ports = json!([
        {"name": "http", "port": 80},
        {"name": "grpc", "port": 9000, "appProtocol": "kubernetes.io/h2c"},
        {"name": "http", "port": 53, "protocol": "UDP"},
    ]);
    let behind = json!([{"name": "grpc", "port": 80}, {"name": "http", "port": 9000}]);
    let cluster = Cluster::of(&[
        service("cart", "10.96.0.1", ports),
        slice("a", "cart", behind, json!([member("10.244.0.1", "cart-1")])),
    ]);
    let line = |port: &str| format!("10.244.0.1:{port} ready serving shop/cart-1");
    assert_eq!(cluster.look("10.96.0.1:80")[1], line("9000"));
    let grpc = cluster.look("10.96.0.1:9000");
    assert_eq!(
        grpc,
        ["service shop/cart grpc (kubernetes.io/h2c)", &line("80")]
    );
}

#[test]
fn a_target_port_by_name_may_differ_from_pod_to_pod() {
    let other = json!([{"name": "http", "port": 9090}]);
    let cluster = Cluster::of(&[
        cart(),
        slice(
            "a",
            "cart",
            http_8080(),
            json!([member("10.244.0.1", "cart-1")]),
        ),
        slice("b", "cart", other, json!([member("10.244.0.2", "cart-2")])),
    ]);
    let both = [
        "10.244.0.1:8080 ready serving shop/cart-1",
        "10.244.0.2:9090 ready serving shop/cart-2",
    ];
    assert_eq!(cluster.look("10.96.0.1:80")[1..], both);
}

#[test]
fn a_single_port_needs_no_name() {
    for name in [json!(null), json!("")] {
        let cluster = Cluster::of(&[
            service("cart", "10.96.0.1", json!([{"port": 3306}])),
            slice(
                "a",
                "cart",
                json!([{"name": name, "port": 3306}]),
                json!([{"addresses": ["192.0.2.1"]}]),
            ),
        ]);
        let state = ["service shop/cart", "192.0.2.1:3306 ready serving"];
        assert_eq!(cluster.look("10.96.0.1:3306"), state);
    }
}

#[test]
fn each_cluster_ip_has_the_endpoints_of_its_family() {
    let dual = with(
        cart(),
        "/spec/clusterIPs",
        json!(["10.96.0.1", "fd00:96::1"]),
    );
    let v6 = slice(
        "b",
        "cart",
        http_8080(),
        json!([member("fd00:244::1", "cart-1")]),
    );
    let cluster = Cluster::of(&[
        dual,
        slice(
            "a",
            "cart",
            http_8080(),
            json!([member("10.244.0.1", "cart-1")]),
        ),
        with(v6, "/addressType", json!("IPv6")),
    ]);
    let v4 = ["10.244.0.1:8080 ready serving shop/cart-1"];
    let v6 = ["[fd00:244::1]:8080 ready serving shop/cart-1"];
    assert_eq!(cluster.look("10.96.0.1:80")[1..], v4);
    assert_eq!(cluster.look("[fd00:96::1]:80")[1..], v6);
    // As an IPv6 socket that is given an IPv4 peer has it.
    assert_eq!(cluster.look("[::ffff:10.96.0.1]:80")[1..], v4);
}

#[test]
fn does_not_fall_back_to_the_other_family() {
    let cluster = Cluster::of(&[
        service("cart", "fd00:96::1", http_80()),
        slice(
            "a",
            "cart",
            http_8080(),
            json!([member("10.244.0.1", "cart-1")]),
        ),
    ]);
    assert_eq!(cluster.look("[fd00:96::1]:80"), EMPTY);
}

#[test]
fn slices_may_arrive_before_their_service_and_stay_after_it() {
    let behind = slice(
        "a",
        "cart",
        http_8080(),
        json!([member("10.244.0.1", "cart-1")]),
    );
    let mut cluster = Cluster::of(&[behind]);
    assert_eq!(cluster.look("10.96.0.1:80"), ["unknown"]);
    let changes = cluster.apply(&cart());
    assert!(changes.services.contains(&key("cart")), "{changes:?}");
    assert_eq!(cluster.look("10.96.0.1:80").len(), 2);
    let changes = cluster.delete(&cart());
    assert!(
        changes.ips.contains(&"10.96.0.1".parse().expect("an IP")),
        "{changes:?}"
    );
    assert_eq!(cluster.look("10.96.0.1:80"), ["unknown"]);
    cluster.apply(&cart());
    assert_eq!(cluster.look("10.96.0.1:80").len(), 2);
}

#[test]
fn an_endpoint_in_several_slices_is_one_and_the_readiest_wins() {
    let stale = with(
        member("10.244.0.1", "cart-1"),
        "/conditions",
        json!({"ready": false, "serving": true, "terminating": true}),
    );
    let fresh = member("10.244.0.1", "cart-1");
    for (first, second) in [(&stale, &fresh), (&fresh, &stale)] {
        let cluster = Cluster::of(&[
            cart(),
            slice("a", "cart", http_8080(), json!([first])),
            slice("b", "cart", http_8080(), json!([second, second])),
        ]);
        let one = ["10.244.0.1:8080 ready serving shop/cart-1"];
        assert_eq!(cluster.look("10.96.0.1:80")[1..], one);
    }
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let members = json!([member("10.244.0.1", "cart-1")]);
    let mut cluster = Cluster::of(&[
        cart(),
        service("shelf", "10.96.0.2", http_80()),
        slice("a", "cart", http_8080(), members.clone()),
    ]);
    cluster.apply(&slice("a", "shelf", http_8080(), members));
    assert_eq!(cluster.look("10.96.0.1:80"), EMPTY);
    assert_eq!(cluster.look("10.96.0.2:80").len(), 2);
}

#[test]
fn a_slice_that_is_refused_takes_its_endpoints_with_it() {
    let good = slice(
        "a",
        "cart",
        http_8080(),
        json!([member("10.244.0.1", "cart-1")]),
    );
    let mut cluster = Cluster::of(&[cart(), good.clone()]);
    cluster.apply(&with(good, "/metadata/labels", json!({})));
    assert_eq!(cluster.look("10.96.0.1:80"), EMPTY);
}

#[test]
fn keeps_what_terminates_while_it_serves() {
    let terminating = |serving: bool| {
        let conditions = json!({"ready": false, "serving": serving, "terminating": true});
        let endpoint = with(member("10.244.0.1", "cart-1"), "/conditions", conditions);
        slice("a", "cart", http_8080(), json!([endpoint]))
    };
    let mut cluster = Cluster::of(&[cart(), terminating(true)]);
    let kept = ["10.244.0.1:8080 serving terminating shop/cart-1"];
    assert_eq!(cluster.look("10.96.0.1:80")[1..], kept);
    cluster.apply(&terminating(false));
    assert_eq!(cluster.look("10.96.0.1:80"), EMPTY);
}

#[test]
fn publishes_what_is_not_ready_as_ready_where_the_service_says_so() {
    let subsets = json!([{"notReadyAddresses": [{"ip": "192.0.2.1"}], "ports": [{"name": "http", "port": 8080}]}]);
    let mut cluster = Cluster::of(&[cart(), endpoints("cart", subsets)]);
    assert_eq!(cluster.look("10.96.0.1:80")[1..], ["192.0.2.1:8080"]);
    cluster.apply(&with(cart(), "/spec/publishNotReadyAddresses", json!(true)));
    assert_eq!(cluster.look("10.96.0.1:80")[1..], ["192.0.2.1:8080 ready"]);
}

#[test]
fn endpoints_objects_count_only_without_slices() {
    let subsets = json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "fd00::1"}], "ports": [{"name": "http", "port": 8080}]}]);
    let old = endpoints("cart", subsets);
    let mirrored = slice(
        "a",
        "cart",
        http_8080(),
        json!([{"addresses": ["192.0.2.2"]}]),
    );
    let mut cluster = Cluster::of(&[cart(), old.clone()]);
    assert_eq!(
        cluster.look("10.96.0.1:80")[1..],
        ["192.0.2.1:8080 ready serving"]
    );
    cluster.apply(&mirrored);
    assert_eq!(
        cluster.look("10.96.0.1:80")[1..],
        ["192.0.2.2:8080 ready serving"]
    );
    cluster.delete(&mirrored);
    assert_eq!(
        cluster.look("10.96.0.1:80")[1..],
        ["192.0.2.1:8080 ready serving"]
    );
    cluster.delete(&old);
    assert_eq!(cluster.look("10.96.0.1:80"), EMPTY);
}

#[test]
fn a_cluster_ip_that_moves_is_the_youngers_until_that_goes() {
    let born = |object: Value, time: &str| with(object, "/metadata/creationTimestamp", json!(time));
    let old = born(cart(), "2026-01-01T00:00:00Z");
    let new = born(
        service("shelf", "10.96.0.1", http_80()),
        "2026-01-02T00:00:00Z",
    );
    for order in [[&old, &new], [&new, &old]] {
        let mut cluster = Cluster::of(&order.map(Clone::clone));
        assert_eq!(
            cluster.look("10.96.0.1:80"),
            ["service shop/shelf http (http)"]
        );
        let changes = cluster.delete(&new);
        assert!(changes.ips.contains(&"10.96.0.1".parse().expect("an IP")));
        assert_eq!(cluster.look("10.96.0.1:80"), EMPTY);
    }
}

#[test]
fn says_what_stays_on_its_node() {
    let local = with(cart(), "/spec/internalTrafficPolicy", json!("Local"));
    let line = ["service shop/cart http (http) node-local"];
    assert_eq!(Cluster::of(&[local]).look("10.96.0.1:80"), line);
}

#[test]
fn an_endpoint_knows_its_meshed_pod_by_reference_or_by_ip() {
    let mut cluster = Cluster::of(&[
        cart(),
        slice(
            "a",
            "cart",
            http_8080(),
            json!([member("10.244.0.1", "cart-1"), {"addresses": ["10.244.0.2"], "zone": "zone-b"}]),
        ),
    ]);
    let before = [
        "10.244.0.1:8080 ready serving shop/cart-1",
        "10.244.0.2:8080 ready serving zone-b",
    ];
    assert_eq!(cluster.look("10.96.0.1:80")[1..], before);
    let changes = cluster.apply(&pod("cart-1", "10.244.0.1"));
    assert!(changes.services.contains(&key("cart")), "{changes:?}");
    assert!(
        changes.ips.contains(&"10.96.0.1".parse().expect("an IP")),
        "{changes:?}"
    );
    cluster.apply(&pod("cart-2", "10.244.0.2"));
    let after = [
        "10.244.0.1:8080 ready serving shop/cart-1 meshed as default node-a",
        "10.244.0.2:8080 ready serving shop/cart-2 meshed as default node-a zone-b",
    ];
    assert_eq!(cluster.look("10.96.0.1:80")[1..], after);
}

#[test]
fn the_next_pod_of_a_name_says_nothing_of_the_one_before() {
    let cluster = Cluster::of(&[
        cart(),
        slice(
            "a",
            "cart",
            http_8080(),
            json!([member("10.244.0.1", "cart-0")]),
        ),
        pod("cart-0", "10.244.0.9"),
    ]);
    let old = ["10.244.0.1:8080 ready serving shop/cart-0"];
    assert_eq!(cluster.look("10.96.0.1:80")[1..], old);
}

#[test]
fn a_change_that_says_nothing_new_changes_nothing() {
    let behind = slice(
        "a",
        "cart",
        http_8080(),
        json!([member("10.244.0.1", "cart-1")]),
    );
    let mut cluster = Cluster::of(&[cart(), behind.clone(), pod("cart-1", "10.244.0.1")]);
    let labelled = with(cart(), "/metadata/labels", json!({"touched": "yes"}));
    for same in [cart(), labelled, behind, pod("cart-1", "10.244.0.1")] {
        let changes = cluster.apply(&same);
        assert!(changes.is_empty(), "{changes:?}");
    }
    let changes = cluster.delete(&service("nothing", "", json!([])));
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn a_change_touches_no_other_service() {
    let mut cluster = Cluster::of(&[
        cart(),
        service("shelf", "10.96.0.2", http_80()),
        slice(
            "a",
            "cart",
            http_8080(),
            json!([
                member("10.244.0.1", "cart-1"),
                member("10.244.0.3", "cart-3")
            ]),
        ),
        slice(
            "b",
            "shelf",
            http_8080(),
            json!([member("10.244.0.2", "shelf-1")]),
        ),
    ]);
    let changed = slice(
        "a",
        "cart",
        http_8080(),
        json!([
            member("10.244.0.1", "cart-1"),
            member("10.244.0.4", "cart-4")
        ]),
    );
    let changes = cluster.apply(&changed);
    let ips = ["10.96.0.1", "10.244.0.3", "10.244.0.4"].map(|ip| ip.parse().expect("an IP"));
    assert_eq!(changes.ips, ips.into());
    assert_eq!(changes.services, [key("cart")].into());
}
