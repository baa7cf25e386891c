use serde_json::{Value, json};

use crate::test_cluster::{Cluster, Object, member, pod, service, slice, with};

fn refusals(object: &Value) -> Vec<(&'static str, String)> {
    let parsed = Object::parse(object);
    let refused = parsed.refused().iter();
    refused
        .map(|r| (r.reason.as_str(), r.value.clone()))
        .collect()
}

fn refused(object: &Value, reason: &'static str, value: &str) {
    assert_eq!(refusals(object), [(reason, value.to_owned())], "{object}");
}

fn http() -> Value {
    json!([{"name": "http", "port": 8080}])
}

#[test]
fn refuses_a_slice_that_names_no_service() {
    let orphan = slice("a", "cart", http(), json!([]));
    let orphan = with(orphan, "/metadata/labels", json!({"app": "cart"}));
    refused(&orphan, "no_service_name", "kubernetes.io/service-name");
    let empty = slice("a", "", http(), json!([]));
    refused(&empty, "no_service_name", "kubernetes.io/service-name");
}

#[test]
fn refuses_a_slice_of_names() {
    let names = slice(
        "a",
        "cart",
        http(),
        json!([{"addresses": ["db.example.com"]}]),
    );
    let names = with(names, "/addressType", json!("FQDN"));
    refused(&names, "address_type", "FQDN");
}

#[test]
fn refuses_bad_endpoints_and_keeps_the_good_ones() {
    let good = member("10.244.0.1", "cart-1");
    for (bad, reason, value) in [
        (
            json!({"addresses": ["10.244.0"]}),
            "bad_address",
            "10.244.0",
        ),
        (
            json!({"addresses": ["10.0.0.1\n"]}),
            "bad_address",
            "10.0.0.1\n",
        ),
        (json!({"addresses": [""]}), "bad_address", ""),
        (json!({"addresses": []}), "no_address", ""),
        (json!({"addresses": null}), "no_address", ""),
        (json!({"addresses": ["fd00::1"]}), "other_family", "fd00::1"),
        (
            json!({"addresses": ["127.0.0.1"]}),
            "special_address",
            "127.0.0.1",
        ),
        (
            json!({"addresses": ["0.0.0.0"]}),
            "special_address",
            "0.0.0.0",
        ),
        (
            json!({"addresses": ["169.254.1.1"]}),
            "special_address",
            "169.254.1.1",
        ),
        (
            json!({"addresses": ["224.0.0.1"]}),
            "special_address",
            "224.0.0.1",
        ),
    ] {
        let mixed = slice("a", "cart", http(), json!([bad, good.clone()]));
        refused(&mixed, reason, value);
        let cluster = Cluster::of(&[
            service("cart", "10.96.0.1", json!([{"name": "http", "port": 80}])),
            mixed,
        ]);
        let state = [
            "service shop/cart http (http)",
            "10.244.0.1:8080 ready serving shop/cart-1",
        ];
        assert_eq!(cluster.look("10.96.0.1:80"), state, "{reason}");
    }
}

#[test]
fn refuses_a_mapped_address_in_a_slice_of_ipv6() {
    let mapped = slice(
        "a",
        "cart",
        http(),
        json!([{"addresses": ["::ffff:10.0.0.1"]}]),
    );
    let mapped = with(mapped, "/addressType", json!("IPv6"));
    refused(&mapped, "other_family", "::ffff:10.0.0.1");
}

#[test]
fn refuses_ports_that_are_none() {
    for (port, reason, value) in [
        (json!({"name": "http", "port": 0}), "bad_port", "0"),
        (json!({"name": "http", "port": 65536}), "bad_port", "65536"),
        (json!({"name": "http", "port": -1}), "bad_port", "-1"),
        (json!({"name": "http"}), "no_port", "http"),
    ] {
        refused(&slice("a", "cart", json!([port]), json!([])), reason, value);
    }
    let zero = service(
        "cart",
        "10.96.0.1",
        json!([{"port": 0}, {"name": "b", "port": 81}]),
    );
    refused(&zero, "bad_port", "0");
    let twice = json!([{"name": "a", "port": 80}, {"name": "b", "port": 80}]);
    refused(&service("cart", "10.96.0.1", twice), "bad_port", "80");
    let endpoints = json!({
        "kind": "Endpoints",
        "metadata": {"namespace": "shop", "name": "cart"},
        "subsets": [{"addresses": [{"ip": "10.0.0.300"}], "ports": [{"port": 0}]}],
    });
    let both = [
        ("bad_port", "0".to_owned()),
        ("bad_address", "10.0.0.300".to_owned()),
    ];
    assert_eq!(refusals(&endpoints), both);
}

#[test]
fn refuses_a_cluster_ip_that_is_none_and_keeps_the_other() {
    let ports = json!([{"name": "http", "port": 80}]);
    let half = with(
        service("cart", "10.96.0.1", ports),
        "/spec/clusterIPs",
        json!(["10.96.0.1", "fd00::zz"]),
    );
    refused(&half, "bad_address", "fd00::zz");
    let cluster = Cluster::of(&[half]);
    assert_eq!(
        cluster.look("10.96.0.1:80"),
        ["service shop/cart http (http)"]
    );
}

#[test]
fn refuses_a_meshed_pod_in_its_nodes_network() {
    let host = with(
        pod("agent", "192.168.0.7"),
        "/spec/hostNetwork",
        json!(true),
    );
    refused(&host, "host_network", "shop/agent");
    let cluster = Cluster::of(&[host]);
    assert_eq!(cluster.look("192.168.0.7:22"), ["unknown"]);
}

#[test]
fn refuses_a_pod_that_only_says_it_is_meshed() {
    let containers = json!([{"name": "app"}]);
    let copied = with(
        pod("cart-1", "10.244.0.1"),
        "/spec/initContainers",
        containers,
    );
    refused(&copied, "no_sidecar", "shop/cart-1");
    let classic = json!([{"name": "app"}, {"name": "netting-sidecar"}]);
    assert_eq!(refusals(&with(copied, "/spec/containers", classic)), []);
}

#[test]
fn refuses_one_bad_pod_ip_and_keeps_the_other() {
    let ips = json!([{"ip": "10.244.0.1"}, {"ip": "::1"}]);
    let half = with(pod("cart-1", ""), "/status/podIPs", ips);
    refused(&half, "special_address", "::1");
    assert_ne!(Cluster::of(&[half]).look("10.244.0.1:1"), ["unknown"]);
}

#[test]
fn a_pod_belongs_to_its_controller_or_the_deployment_behind_that() {
    let owned = |kind: &str, name: &str| {
        let owners = json!([
            {"apiVersion": "v1", "kind": "Lease", "name": "x", "uid": "1"},
            {"apiVersion": "v1", "kind": kind, "name": name, "uid": "2", "controller": true},
        ]);
        with(
            pod("cart-1", "10.244.0.1"),
            "/metadata/ownerReferences",
            owners,
        )
    };
    let hashed =
        |pod: Value, hash: &str| with(pod, "/metadata/labels/pod-template-hash", json!(hash));
    let nobodys = json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "1"}]);
    for (pod, owner) in [
        (pod("cart-1", "10.244.0.1"), None),
        (
            with(
                pod("cart-1", "10.244.0.1"),
                "/metadata/ownerReferences",
                nobodys,
            ),
            None,
        ),
        (
            hashed(owned("ReplicaSet", "cart-v1-5d8f"), "5d8f"),
            Some("of Deployment cart-v1"),
        ),
        (
            hashed(owned("ReplicaSet", "cart-v1-5d8f"), "77"),
            Some("of ReplicaSet cart-v1-5d8f"),
        ),
        (
            hashed(owned("StatefulSet", "cart-5d8f"), "5d8f"),
            Some("of StatefulSet cart-5d8f"),
        ),
        (owned("Job", "cart-29"), Some("of Job cart-29")),
    ] {
        let seen = Cluster::of(&[pod]).look("10.244.0.1:80").join("\n");
        let of = seen.find("of ").map(|at| &seen[at..]);
        let of = of.map(|of| of.trim_end_matches(" node-a"));
        assert_eq!(of, owner, "{seen}");
    }
}

#[test]
fn ignores_what_is_no_business_of_tcp_without_a_word() {
    let ports = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "sctp", "port": 99, "protocol": "SCTP"},
        {"name": "any", "protocol": "UDP"},
    ]);
    let object = slice("a", "cart", ports, json!([member("10.244.0.1", "cart-1")]));
    assert_eq!(refusals(&object), []);
    let udp = service("dns", "10.96.0.2", json!([{"port": 53, "protocol": "UDP"}]));
    assert_eq!(refusals(&udp), []);
    let cluster = Cluster::of(&[object, udp]);
    assert_eq!(cluster.look("10.96.0.2:53"), ["unknown"]);
    assert_eq!(cluster.look("10.244.0.1:53"), ["unknown"]);
}

#[test]
fn takes_null_lists_for_empty_ones() {
    let object = slice("a", "cart", json!(null), json!(null));
    assert_eq!(refusals(&object), []);
    let none = with(
        service("cart", "", json!(null)),
        "/spec/clusterIPs",
        json!(null),
    );
    assert_eq!(refusals(&none), []);
}

#[test]
fn takes_a_cluster_ip_from_an_object_that_has_only_the_old_field() {
    let old = json!({
        "kind": "Service",
        "metadata": {"namespace": "shop", "name": "cart"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
    });
    assert_eq!(
        Cluster::of(&[old]).look("10.96.0.1:80"),
        ["service shop/cart"]
    );
}

#[test]
fn takes_what_a_slice_does_not_say_for_ready() {
    for (conditions, flags) in [
        (json!({}), "ready serving"),
        (json!(null), "ready serving"),
        (
            json!({"ready": null, "serving": null, "terminating": null}),
            "ready serving",
        ),
        (json!({"ready": true}), "ready serving"),
        (json!({"ready": false}), ""),
        (json!({"ready": false, "serving": true}), "serving"),
        (
            json!({"ready": false, "serving": true, "terminating": true}),
            "serving terminating",
        ),
    ] {
        let endpoint = json!({"addresses": ["10.244.0.1"], "conditions": conditions});
        let cluster = Cluster::of(&[
            service("cart", "10.96.0.1", json!([{"name": "http", "port": 80}])),
            slice("a", "cart", http(), json!([endpoint])),
        ]);
        let expected = format!("10.244.0.1:8080 {flags}");
        assert_eq!(cluster.look("10.96.0.1:80")[1], expected.trim_end());
    }
}

/// A pod with a classic sidecar, and its containers' policies and states.
fn job(policy: &str, containers: Value, statuses: Value) -> Value {
    let mut job = pod("job-1", "10.244.0.1");
    job["spec"]["restartPolicy"] = json!(policy);
    job["spec"]["containers"] = containers;
    job["status"]["containerStatuses"] = statuses;
    job
}

fn application_ended(pod: &Value) -> bool {
    let Object::Pod(parsed) = Object::parse(pod) else {
        panic!("it is a pod");
    };
    parsed.object.expect("it is meshed").application_ended
}

#[test]
fn an_application_has_ended_when_no_container_of_it_starts_again() {
    let both = || json!([{"name": "app"}, {"name": "netting-sidecar"}]);
    let statuses = |app: Value| json!([{"name": "app", "state": app}, {"name": "netting-sidecar", "state": {"running": {}}}]);
    let exited = |code: i32| statuses(json!({"terminated": {"exitCode": code}}));
    for (policy, state, ended) in [
        ("Always", exited(0), false),
        ("OnFailure", exited(1), false),
        ("OnFailure", exited(0), true),
        ("Never", exited(1), true),
        ("Never", statuses(json!({"running": {}})), false),
        ("Never", statuses(json!({"waiting": {}})), false),
        ("Never", json!([]), false),
        ("Never", Value::Null, false),
    ] {
        let pod = job(policy, both(), state);
        assert_eq!(application_ended(&pod), ended, "{pod:#}");
    }
    let own_policy =
        json!([{"name": "app", "restartPolicy": "Always"}, {"name": "netting-sidecar"}]);
    assert!(!application_ended(&job("Never", own_policy, exited(0))));
}

/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#individual-container-restart-policy-and-rules>
#[test]
fn a_container_that_its_own_rules_start_again_has_not_ended() {
    let statuses =
        |code: i32| json!([{"name": "app", "state": {"terminated": {"exitCode": code}}}]);
    let rule = |action: &str, operator: &str, values: &[i32]| json!({"action": action, "exitCodes": {"operator": operator, "values": values}});
    let in_42 = rule("Restart", "In", &[42]);
    let not_in_0 = rule("RestartAllContainers", "NotIn", &[0]);
    for (policy, rules, code, ended) in [
        ("Never", json!([in_42]), 42, false),
        ("Never", json!([in_42]), 1, true),
        ("Never", json!([in_42]), 0, true),
        ("Never", json!([in_42, not_in_0]), 1, false),
        ("Never", json!([not_in_0]), 0, true),
        ("OnFailure", json!([in_42]), 1, false),
        ("OnFailure", json!([rule("Restart", "In", &[0])]), 0, false),
        ("Never", json!([rule("Restart", "Like", &[0])]), 0, true),
        ("Never", json!([{"action": "Restart"}]), 0, true),
        ("Never", json!([]), 0, true),
        ("Never", Value::Null, 0, true),
    ] {
        // The pod's own policy is not asked.
        let containers = json!([
            {"name": "app", "restartPolicy": policy, "restartPolicyRules": rules},
            {"name": "netting-sidecar"},
        ]);
        let pod = job("Always", containers, statuses(code));
        assert_eq!(application_ended(&pod), ended, "{pod:#}");
    }
}

#[test]
fn a_native_sidecar_is_left_to_the_kubelet() {
    let alone = json!([{"name": "app"}]);
    let exited = json!([{"name": "app", "state": {"terminated": {"exitCode": 0}}}]);
    assert!(!application_ended(&job("Never", alone, exited)));
}
