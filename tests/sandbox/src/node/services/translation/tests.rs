use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn cluster(service: Value, slices: Vec<Value>) -> Cluster {
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop"}, "spec": service
    }))
    .expect("a service");
    let mut cluster = Cluster::default();
    cluster
        .services
        .insert(("shop".to_owned(), "web".to_owned()), Arc::new(service));
    for (number, mut slice) in slices.into_iter().enumerate() {
        let name = format!("web-{number}");
        slice["metadata"] = json!({
            "name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}
        });
        let slice = serde_json::from_value(slice).expect("a slice");
        cluster
            .slices
            .insert(("shop".to_owned(), name), Arc::new(slice));
    }
    cluster
}

fn one_port() -> Value {
    json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
           "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]})
}

fn slice(endpoints: Value) -> Value {
    json!({"addressType": "IPv4", "endpoints": endpoints,
           "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

/// The outcome of the only translation, endpoints as text.
fn only(cluster: &Cluster) -> Result<Vec<String>, Outcome> {
    let mut all = translations(cluster, "here");
    assert_eq!(all.len(), 1, "{all:?}");
    match all.remove(0).outcome {
        Outcome::Endpoints(set) => Ok(set.iter().map(ToString::to_string).collect()),
        other => Err(other),
    }
}

#[test]
fn headless_and_external_services_have_no_address() {
    let headless = json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 80}]});
    let external = json!({"type": "ExternalName", "externalName": "example.org",
                          "clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    let without_ports = json!({"clusterIP": "10.96.0.7"});
    for spec in [headless, external, without_ports] {
        assert_eq!(translations(&cluster(spec, vec![]), "here"), []);
    }
}

#[test]
fn a_service_without_usable_endpoints_refuses() {
    let garbage = slice(json!([{"addresses": ["not-an-address"]}]));
    let not_ready = slice(json!([{"addresses": ["10.244.0.5"], "conditions": {"ready": false}}]));
    let other_port = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.5"]}],
                            "ports": [{"name": "grpc", "port": 1}]});
    let portless = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.5"]}]});
    for slices in [
        vec![],
        vec![garbage],
        vec![not_ready],
        vec![other_port],
        vec![portless],
    ] {
        assert_eq!(only(&cluster(one_port(), slices)), Err(Outcome::Refuse));
    }
}

#[test]
fn ready_endpoints_of_all_slices_are_taken_once() {
    let first = slice(
        json!([{"addresses": ["10.244.0.5"], "conditions": {"ready": true}},
                             {"addresses": ["10.244.0.6"], "conditions": {"ready": false}}]),
    );
    let second = slice(json!([{"addresses": ["10.244.0.5"]}, {"addresses": ["10.244.0.7"]}]));
    assert_eq!(
        only(&cluster(one_port(), vec![first, second])),
        Ok(vec![
            "10.244.0.5:8080".to_owned(),
            "10.244.0.7:8080".to_owned()
        ])
    );
}

#[test]
fn terminating_endpoints_serve_only_when_none_is_ready() {
    let leaving = json!({"addresses": ["10.244.0.5"],
        "conditions": {"ready": false, "serving": true, "terminating": true}});
    let ready = json!({"addresses": ["10.244.0.6"]});
    assert_eq!(
        only(&cluster(one_port(), vec![slice(json!([leaving, ready]))])),
        Ok(vec!["10.244.0.6:8080".to_owned()])
    );
    assert_eq!(
        only(&cluster(one_port(), vec![slice(json!([leaving]))])),
        Ok(vec!["10.244.0.5:8080".to_owned()])
    );
}

#[test]
fn a_service_for_its_own_node_uses_no_other() {
    let mut spec = one_port();
    spec["internalTrafficPolicy"] = json!("Local");
    let there = json!({"addresses": ["10.244.1.5"], "nodeName": "there"});
    let here = json!({"addresses": ["10.244.0.5"], "nodeName": "here"});
    assert_eq!(
        only(&cluster(spec.clone(), vec![slice(json!([there]))])),
        Err(Outcome::Drop)
    );
    assert_eq!(
        only(&cluster(spec, vec![slice(json!([there, here]))])),
        Ok(vec!["10.244.0.5:8080".to_owned()])
    );
}

#[test]
fn each_family_leads_to_endpoints_of_its_own() {
    let spec = json!({"clusterIPs": ["10.96.0.7", "fd00::7"],
                      "ports": [{"port": 53, "protocol": "UDP"}]});
    let v6 = json!({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::5"]}],
                    "ports": [{"port": 5353, "protocol": "UDP"}]});
    let all = translations(&cluster(spec, vec![v6]), "here");
    let endpoint = "[fd00::5]:5353".parse().expect("an address");
    assert_eq!(all[0].outcome, Outcome::Refuse);
    assert_eq!(all[1].protocol, "udp");
    assert_eq!(
        all[1].outcome,
        Outcome::Endpoints(BTreeSet::from([endpoint]))
    );
}
