use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn cluster(spec: Value, endpoints: Value) -> Cluster {
    let service = serde_json::from_value(json!({
        "metadata": {"name": "db", "namespace": "shop"}, "spec": spec
    }))
    .expect("a service");
    let slice = serde_json::from_value(json!({
        "metadata": {"name": "db-x", "namespace": "shop",
                     "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4",
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
        "endpoints": endpoints
    }))
    .expect("a slice");
    let key = |name: &str| ("shop".to_owned(), name.to_owned());
    Cluster {
        services: [(key("db"), Arc::new(service))].into(),
        slices: [(key("db-x"), Arc::new(slice))].into(),
    }
}

fn headless() -> Value {
    json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"name": "sql", "port": 5432}]})
}

fn addrs(entry: Option<Entry>) -> Vec<String> {
    entry
        .expect("a name")
        .addrs
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn names_outside_the_cluster_or_without_a_service_do_not_exist() {
    let cluster = cluster(json!({"clusterIP": "10.96.0.9"}), json!([]));
    for name in [
        "",
        "example.org",
        "cluster.local",
        "svc.cluster.local",
        "db.shop.svc.cluster.org",
        "db.other.svc.cluster.local",
        "db.shop.pod.cluster.local",
        "db.shopsvc.cluster.local",
        "a.b.c.db.shop.svc.cluster.local",
        "db-0.db.shop.svc.cluster.local",
        "sql.tcp.db.shop.svc.cluster.local",
        "_none._tcp.db.shop.svc.cluster.local",
    ] {
        assert_eq!(lookup(&cluster, "cluster.local", name), None, "{name}");
    }
}

#[test]
fn a_service_has_the_addresses_of_both_families() {
    let spec = json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"],
                      "ports": [{"name": "sql", "port": 1}]});
    let cluster = cluster(spec, json!([{"addresses": ["10.244.0.4"]}]));
    let name = "db.shop.svc.cluster.local";
    assert_eq!(
        addrs(lookup(&cluster, "cluster.local", name)),
        ["10.96.0.9", "fd00::9"]
    );
    let port = lookup(
        &cluster,
        "cluster.local",
        "_sql._tcp.db.shop.svc.cluster.local",
    );
    assert_eq!(port.expect("a name").ports, [(1, name.to_owned())]);
}

#[test]
fn a_headless_service_has_its_ready_endpoints() {
    let endpoints = json!([
        {"addresses": ["10.244.0.4"], "hostname": "db-0"},
        {"addresses": ["10.244.0.5"], "conditions": {"ready": false}, "hostname": "db-1"},
        {"addresses": ["10.244.0.6"]},
        {"addresses": ["garbage"]}
    ]);
    let mut spec = headless();
    let ready = cluster(spec.clone(), endpoints.clone());
    let find = |name: &str| {
        lookup(
            &ready,
            "cluster.local",
            &format!("{name}.shop.svc.cluster.local"),
        )
    };
    assert_eq!(addrs(find("db")), ["10.244.0.4", "10.244.0.6"]);
    assert_eq!(addrs(find("db-0.db")), ["10.244.0.4"]);
    assert_eq!(addrs(find("10-244-0-6.db")), ["10.244.0.6"]);
    assert_eq!(find("db-1.db"), None);
    let ports = find("_sql._tcp.db").expect("a name").ports;
    assert_eq!(
        ports[0],
        (5432, "db-0.db.shop.svc.cluster.local".to_owned())
    );
    spec["publishNotReadyAddresses"] = json!(true);
    let early = cluster(spec, endpoints);
    let found = lookup(&early, "cluster.local", "db-1.db.shop.svc.cluster.local");
    assert_eq!(addrs(found), ["10.244.0.5"]);
}

#[test]
fn a_service_without_endpoints_exists() {
    let found = lookup(
        &cluster(headless(), json!([])),
        "cluster.local",
        "db.shop.svc.cluster.local",
    );
    assert_eq!(found, Some(Entry::default()));
}

#[test]
fn an_external_service_is_an_alias() {
    let spec = json!({"type": "ExternalName", "externalName": "db.example.org"});
    let found = lookup(
        &cluster(spec, json!([])),
        "cluster.local",
        "db.shop.svc.cluster.local",
    );
    assert_eq!(
        found.expect("a name").alias.as_deref(),
        Some("db.example.org")
    );
}
