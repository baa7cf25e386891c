use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::node::cluster::Cluster;

fn services() -> BTreeMap<String, String> {
    let service = |name: &str, ns: &str, addr: &str| {
        let service = json!({"metadata": {"name": name, "namespace": ns}, "spec": {
            "clusterIP": addr, "ports": [{"name": "web", "port": 443, "protocol": "TCP"}]}});
        let service = serde_json::from_value(service).expect("a service");
        ((ns.to_owned(), name.to_owned()), Arc::new(service))
    };
    let cluster = Cluster {
        services: [
            service("kubernetes", "default", "10.96.0.1"),
            service("my-db", "shop", "fd00::9"),
            service("headless", "shop", "None"),
            service("other", "elsewhere", "10.96.0.3"),
        ]
        .into(),
        ..Cluster::default()
    };
    service_variables(&cluster, "shop", true)
}

fn of(container: Value, sources: &Sources) -> Result<BTreeMap<String, String>, String> {
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web"}})).expect("a pod");
    let container = serde_json::from_value(container).expect("a container");
    let placed = Placed {
        pod: &pod,
        addrs: &[],
        node_addrs: &[],
    };
    variables(placed, &container, sources, &services())
}

fn sources() -> Sources {
    let map = serde_json::from_value(json!({"data": {"K": "v", "L": "w"}})).expect("a map");
    let secret = serde_json::from_value(json!({"data": {"P": "cHc="}})).expect("a secret");
    Sources {
        config_maps: [("cm".to_owned(), map)].into(),
        secrets: [("s".to_owned(), secret)].into(),
    }
}

#[test]
fn refuses_what_is_missing_unless_it_is_optional() {
    let key = |kind: &str, optional: bool| {
        json!({"name": "c", "env": [{"name": "X", "valueFrom":
            {kind: {"name": "cm", "key": "none", "optional": optional}}}]})
    };
    let all = |kind: &str, optional: bool| json!({"name": "c", "envFrom": [{kind: {"name": "none", "optional": optional}}]});
    for (make, kind) in [
        (&key as &dyn Fn(&str, bool) -> Value, "configMapKeyRef"),
        (&key, "secretKeyRef"),
        (&all, "configMapRef"),
        (&all, "secretRef"),
    ] {
        let error = of(make(kind, false), &sources()).expect_err(kind);
        assert!(error.contains("none"), "{error}");
        assert!(
            !of(make(kind, true), &sources())
                .expect(kind)
                .contains_key("X")
        );
    }
    let field = json!({"name": "c", "env": [{"name": "X", "valueFrom":
        {"fieldRef": {"fieldPath": "spec.nope"}}}]});
    assert!(
        of(field, &sources())
            .expect_err("no field")
            .contains("spec.nope")
    );
}

#[test]
fn later_variables_win_and_see_earlier_ones() {
    let container = json!({"name": "c",
    "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}],
    "env": [
        {"name": "A", "value": "$(P_K)-$(B)"},
        {"name": "B", "value": "$(A)"},
        {"name": "P_L", "value": "own"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "P"}}},
        {"name": "API", "value": "https://$(KUBERNETES_SERVICE_HOST)"},
        {"name": "MY_DB_SERVICE_PORT", "value": "mine"}
    ]});
    let variables = of(container, &sources()).expect("variables");
    for (name, value) in [
        ("A", "v-$(B)"),
        ("B", "v-$(B)"),
        ("P_L", "own"),
        ("P", "pw"),
        ("NAME", "web"),
        ("KEY", "pw"),
        ("API", "https://10.96.0.1"),
        ("MY_DB_SERVICE_HOST", "fd00::9"),
        ("MY_DB_SERVICE_PORT", "mine"),
        ("MY_DB_SERVICE_PORT_WEB", "443"),
        ("MY_DB_PORT", "tcp://[fd00::9]:443"),
        ("MY_DB_PORT_443_TCP_ADDR", "fd00::9"),
    ] {
        assert_eq!(
            variables.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    assert!(!variables.contains_key("OTHER_SERVICE_HOST"));
    assert!(!variables.contains_key("HEADLESS_SERVICE_HOST"));
}

#[test]
fn the_command_line_is_command_and_arguments_expanded() {
    let container = serde_json::from_value(json!({"name": "c",
        "command": ["/bin/echo", "$(A)"], "args": ["$$(A)", "$(NONE)"]}))
    .expect("a container");
    let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    assert_eq!(
        command_line(&container, &variables),
        ["/bin/echo", "1", "$(A)", "$(NONE)"]
    );
}
