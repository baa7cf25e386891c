//! Ten situations and more, as their parts tell of them.

mod connections;

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use netting_webhook::Options;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Explanation, Mark, pod, service};
use crate::{admission::options_of, queries::Instance};

fn parse<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of Kubernetes")
}

fn options() -> Options {
    options_of(None, true).expect("the defaults agree with each other")
}

fn of_pod(namespace_labels: Value, metadata: Value, spec: Value) -> Explanation {
    let namespace: Namespace =
        parse(json!({"metadata": {"name": "shop", "labels": namespace_labels}}));
    let mut raw =
        json!({"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "app:1"}]}});
    raw["metadata"]["name"] = json!("web-1");
    for (field, value) in spec.as_object().expect("an object") {
        raw["spec"][field] = value.clone();
    }
    let pod: Pod = parse(raw);
    pod::explain(&pod::Known {
        pod: &pod,
        namespace: &namespace,
        limit_ranges: &[],
        options: &options(),
        events: &[(
            "NettingNotInjected".to_owned(),
            "as the event has it".to_owned(),
        )],
        is_installed: true,
    })
}

#[test]
fn each_pod_without_a_sidecar_has_a_reason_of_its_own() {
    let enabled = json!({"netting.dev/inject": "enabled"});
    let annotated = json!({"annotations": {"netting.dev/inject": "disabled"}});
    let labelled = json!({"labels": {"netting.dev/inject": "disabled"}});
    let mesh = json!({"containers": [{"name": "linkerd-proxy", "image": "x"}]});
    for (namespace, metadata, spec, reason, says) in [
        (
            json!({}),
            json!({}),
            json!({}),
            "not_asked_for",
            "label either",
        ),
        (
            enabled.clone(),
            annotated,
            json!({}),
            "opted_out_by_annotation",
            "wants none",
        ),
        (
            enabled.clone(),
            labelled,
            json!({}),
            "opted_out_by_label",
            "wants none",
        ),
        (
            enabled.clone(),
            json!({}),
            json!({"hostNetwork": true}),
            "host_network",
            "host's network",
        ),
        (enabled.clone(), json!({}), mesh, "other_mesh", "Linkerd"),
        (
            enabled,
            json!({}),
            json!({}),
            "not_asked_about",
            "to inject it",
        ),
    ] {
        let explained = of_pod(namespace, metadata, spec);
        assert_eq!(explained.reason, reason);
        assert!(
            explained.verdict.contains(says),
            "{reason}: {}",
            explained.verdict
        );
        let text = explained.render(false);
        assert!(text.contains("! event"), "{text}");
    }
}

#[test]
fn who_asks_for_a_sidecar_is_marked() {
    let explained = of_pod(
        json!({}),
        json!({"labels": {"netting.dev/inject": "true"}}),
        json!({}),
    );
    let marks: Vec<_> = explained
        .steps
        .iter()
        .map(|step| (step.about.as_str(), step.mark))
        .collect();
    assert_eq!(
        &marks[..2],
        [("namespace", Mark::Plain), ("pod", Mark::Good)]
    );
}

fn of_service(selected: Option<usize>, instances: Result<Value, &str>) -> Explanation {
    let service: Service = parse(json!({"metadata": {"namespace": "shop", "name": "echo"},
        "spec": {"clusterIPs": ["10.96.0.7"], "ports": [
            {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}}));
    let instances: Result<Vec<Instance>, &str> = instances.map(parse);
    service::explain(&service::Known {
        service: &service,
        instances: instances.as_deref().map_err(|why| *why),
        selected,
    })
}

#[test]
fn a_service_is_as_its_endpoints_are() {
    let instance = |output: &str| {
        json!({"Service": {"ID": "shop/echo-1:8080", "Meta": {"meshed": "true", "zone": "z1",
        "policy": "timeout 1s", "ignored-annotations": "netting.dev/retries: \"many\" is no number"}},
        "Checks": [{"Status": "", "Output": output}]})
    };
    for (instances, reason) in [
        (json!([]), "no_endpoints"),
        (json!([instance("not ready")]), "no_endpoints"),
        (
            json!([instance("terminating, and serving still")]),
            "terminating_endpoints",
        ),
        (
            json!([instance("ready"), instance("not ready")]),
            "balanced",
        ),
    ] {
        assert_eq!(of_service(Some(1), Ok(instances)).reason, reason);
    }
    let text = of_service(Some(1), Ok(json!([instance("ready")]))).render(false);
    for says in [
        "timeout 1s",
        "\"many\" is no number",
        "in zone z1: ready, with a sidecar",
        "(not proxied)",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    let of_port = |pod: &str, port: u16, meshed: &str| {
        json!({"Service": {"ID": format!("shop/{pod}:{port}"), "Address": pod,
            "Meta": {"pod": pod, "meshed": meshed}}, "Checks": [{"Output": "ready"}]})
    };
    let two_ports = json!([
        of_port("echo-1", 8080, "true"),
        of_port("echo-1", 9090, "true"),
        of_port("echo-2", 8080, "false"),
        of_port("echo-2", 9090, "false"),
    ]);
    let verdict = of_service(Some(2), Ok(two_ports)).verdict;
    let says = "over 2 ready endpoints; 1 of all 2 have a sidecar";
    assert!(verdict.contains(says), "{verdict}");
    let text = of_service(Some(0), Err("it is away")).render(false);
    assert!(
        text.contains("matches no pod") && text.contains("it is away"),
        "{text}"
    );
}

#[test]
fn an_alias_is_no_service_without_endpoints() {
    let service: Service = parse(json!({"metadata": {"namespace": "shop", "name": "db"},
        "spec": {"type": "ExternalName", "externalName": "db.example.org"}}));
    let explained = service::alias(&service).expect("it is one");
    assert_eq!(explained.reason, "external_name");
    let text = explained.render(false);
    assert!(text.contains("DNS answers with db.example.org"), "{text}");
    for wrong in ["selector", "fail as they would"] {
        assert!(!text.contains(wrong), "{text}");
    }
    let plain: Service = parse(json!({"spec": {"type": "ClusterIP"}}));
    assert_eq!(service::alias(&plain), None);
}

#[test]
fn a_service_whose_clients_stay_on_their_nodes_says_so() {
    let service: Service = parse(json!({"metadata": {"namespace": "shop", "name": "echo"},
        "spec": {"clusterIPs": ["10.96.0.7"], "internalTrafficPolicy": "Local"}}));
    let instances: Vec<Instance> = parse(json!([{"Checks": [{"Output": "ready"}]}]));
    let explained = service::explain(&service::Known {
        service: &service,
        instances: Ok(&instances),
        selected: Some(1),
    });
    let says = "over 1 ready endpoints, those on the client's node;";
    assert!(explained.verdict.contains(says), "{explained:?}");
    let text = explained.render(false);
    assert!(text.contains("internalTrafficPolicy: Local"), "{text}");
}
