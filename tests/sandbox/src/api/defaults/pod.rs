//! Defaults of a pod's specification, alone or in a template.

use serde_json::{Value, json};

use crate::api::object::Object as _;

/// Fills in a pod's `spec`.
pub(super) fn spec(spec: &mut Value) {
    for (field, value) in [
        ("/restartPolicy", json!("Always")),
        ("/terminationGracePeriodSeconds", json!(30)),
        ("/dnsPolicy", json!("ClusterFirst")),
        ("/securityContext", json!({})),
        ("/schedulerName", json!("default-scheduler")),
        ("/enableServiceLinks", json!(true)),
    ] {
        spec.default_to(field, value);
    }
    // `serviceAccount` is the old name of `serviceAccountName`, and kept the same.
    let account = [
        spec.text("/serviceAccountName"),
        spec.text("/serviceAccount"),
    ]
    .into_iter()
    .find(|name| !name.is_empty())
    .map(str::to_owned);
    if let Some(account) = account {
        spec.set("/serviceAccountName", account.clone());
        spec.set("/serviceAccount", account);
    }
    let host_network = spec["hostNetwork"] == true;
    for field in ["/initContainers", "/containers"] {
        for one in spec.each(field) {
            container(one, host_network);
        }
    }
    for one in spec.each("/volumes") {
        volume(one);
    }
}

fn container(container: &mut Value, host_network: bool) {
    container.default_to("/resources", json!({}));
    container.default_to("/terminationMessagePath", "/dev/termination-log");
    container.default_to("/terminationMessagePolicy", "File");
    let policy = pull_policy(container.text("/image"));
    container.default_to("/imagePullPolicy", policy);
    for port in container.each("/ports") {
        port.default_to("/protocol", "TCP");
        if host_network {
            let number = port["containerPort"].clone();
            port.default_to("/hostPort", number);
        }
    }
    for variable in container.each("/env") {
        if !variable["valueFrom"]["fieldRef"].is_null() {
            variable.default_to("/valueFrom/fieldRef/apiVersion", "v1");
        }
    }
    // What is requested defaults to the limit.
    if let Some(Value::Object(limits)) = container.pointer("/resources/limits").cloned() {
        for (resource, quantity) in limits {
            container.default_to(
                &format!("/resources/requests/{}", resource.replace('/', "~1")),
                quantity,
            );
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[name].is_object() {
            probe(container.entry(&format!("/{name}")));
        }
    }
    for name in ["postStart", "preStop"] {
        if container["lifecycle"][name]["httpGet"].is_object() {
            http_get(container.entry(&format!("/lifecycle/{name}/httpGet")));
        }
    }
}

/// `Always` for the tag `latest`, and for no tag, unless there is a digest.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn probe(probe: &mut Value) {
    for (field, value) in [
        ("/timeoutSeconds", 1),
        ("/periodSeconds", 10),
        ("/successThreshold", 1),
        ("/failureThreshold", 3),
    ] {
        probe.default_to(field, value);
    }
    if probe["httpGet"].is_object() {
        http_get(probe.entry("/httpGet"));
    }
    if probe["grpc"].is_object() {
        probe.default_to("/grpc/service", "");
    }
}

fn http_get(action: &mut Value) {
    action.default_to("/path", "/");
    action.default_to("/scheme", "HTTP");
}

fn volume(volume: &mut Value) {
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if volume[source].is_object() {
            volume.default_to(&format!("/{source}/defaultMode"), 0o644);
        }
    }
    let kinds = volume.as_object().map_or(0, serde_json::Map::len);
    if kinds == 1 && volume["name"].is_string() {
        volume.set("/emptyDir", json!({}));
    }
    for source in volume.each("/projected/sources") {
        if source["serviceAccountToken"].is_object() {
            source.default_to("/serviceAccountToken/expirationSeconds", 3600);
        }
        for item in source.each("/downwardAPI/items") {
            field_version(item);
        }
    }
    for item in volume.each("/downwardAPI/items") {
        field_version(item);
    }
}

fn field_version(item: &mut Value) {
    if item["fieldRef"].is_object() {
        item.default_to("/fieldRef/apiVersion", "v1");
    }
}
