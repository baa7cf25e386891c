//! A pod's specification.

use std::collections::HashSet;

use serde_json::Value;

use super::names;
use crate::api::{object::Object as _, status::FieldError};

const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Everything that is wrong with a new pod's `spec`, which is at `at`.
pub(super) fn spec(at: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if spec.items("/containers").is_empty() {
        errors.push(FieldError::required(format!("{at}.containers"), ""));
    }
    one_of(
        &mut errors,
        format!("{at}.restartPolicy"),
        spec.text("/restartPolicy"),
        &["Always", "OnFailure", "Never"],
    );
    one_of(
        &mut errors,
        format!("{at}.dnsPolicy"),
        spec.text("/dnsPolicy"),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
    );
    let mut volumes = HashSet::new();
    for (index, volume) in spec.items("/volumes").iter().enumerate() {
        let field = format!("{at}.volumes[{index}].name");
        check_name(&mut errors, &field, volume, &mut volumes);
    }
    let mut seen = HashSet::new();
    for kind in ["initContainers", "containers"] {
        for (index, container) in spec.items(&format!("/{kind}")).iter().enumerate() {
            let field = format!("{at}.{kind}[{index}]");
            check_name(&mut errors, &format!("{field}.name"), container, &mut seen);
            check_container(&mut errors, &field, container, &volumes);
            if kind == "initContainers" {
                check_init(&mut errors, &field, container);
            }
        }
    }
    errors
}

/// Everything that is wrong with changing `old` to `new`, both a pod's `spec`.
pub(super) fn update(new: &Value, old: &Value) -> Vec<FieldError> {
    let added = new.items("/tolerations");
    let kept = old
        .items("/tolerations")
        .iter()
        .all(|one| added.contains(one));
    if kept && frozen(new) == frozen(old) {
        return Vec::new();
    }
    vec![FieldError::forbidden("spec", MUTABLE)]
}

/// The specification without what may be changed.
fn frozen(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for field in [
        "/activeDeadlineSeconds",
        "/tolerations",
        "/terminationGracePeriodSeconds",
    ] {
        spec.take_out(field);
    }
    for kind in ["/initContainers", "/containers"] {
        let containers = spec.pointer_mut(kind).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            container.take_out("/image");
        }
    }
    spec
}

fn one_of(errors: &mut Vec<FieldError>, field: String, value: &str, known: &[&str]) {
    if !value.is_empty() && !known.contains(&value) {
        errors.push(FieldError::unsupported(field, value, known));
    }
}

fn check_name<'a>(
    errors: &mut Vec<FieldError>,
    field: &str,
    item: &'a Value,
    seen: &mut HashSet<&'a str>,
) {
    let name = item.text("/name");
    if name.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !names::is_label(name) {
        errors.push(names::not_a_label(field, &item["name"]));
    } else if !seen.insert(name) {
        errors.push(FieldError::duplicate(field, &item["name"]));
    }
}

fn check_container(
    errors: &mut Vec<FieldError>,
    at: &str,
    container: &Value,
    volumes: &HashSet<&str>,
) {
    if container.text("/image").is_empty() {
        errors.push(FieldError::required(format!("{at}.image"), ""));
    }
    one_of(
        errors,
        format!("{at}.imagePullPolicy"),
        container.text("/imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    check_ports(errors, at, container);
    for (index, variable) in container.items("/env").iter().enumerate() {
        if variable.text("/name").is_empty() {
            errors.push(FieldError::required(format!("{at}.env[{index}].name"), ""));
        }
        if !variable.text("/value").is_empty() && variable["valueFrom"].is_object() {
            let field = format!("{at}.env[{index}].valueFrom");
            let why = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(field, &"".into(), why));
        }
    }
    let mut paths = HashSet::new();
    for (index, mount) in container.items("/volumeMounts").iter().enumerate() {
        let at = format!("{at}.volumeMounts[{index}]");
        if !volumes.contains(mount.text("/name")) {
            errors.push(FieldError::not_found(
                format!("{at}.name"),
                mount.text("/name"),
            ));
        }
        if mount.text("/mountPath").is_empty() {
            errors.push(FieldError::required(format!("{at}.mountPath"), ""));
        } else if !paths.insert(mount.text("/mountPath")) {
            let why = "must be unique";
            errors.push(FieldError::invalid(
                format!("{at}.mountPath"),
                &mount["mountPath"],
                why,
            ));
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        check_probe(errors, &format!("{at}.{name}"), &container[name], name);
    }
}

fn check_ports(errors: &mut Vec<FieldError>, at: &str, container: &Value) {
    let mut seen = HashSet::new();
    for (index, port) in container.items("/ports").iter().enumerate() {
        let at = format!("{at}.ports[{index}]");
        if port["containerPort"].is_null() {
            errors.push(FieldError::required(format!("{at}.containerPort"), ""));
        } else if !is_port(&port["containerPort"]) {
            let why = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(
                format!("{at}.containerPort"),
                &port["containerPort"],
                why,
            ));
        }
        let name = port.text("/name");
        if name.len() > 15 {
            errors.push(FieldError::invalid(
                format!("{at}.name"),
                &port["name"],
                "must be no more than 15 characters",
            ));
        } else if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{at}.name"), &port["name"]));
        }
        one_of(
            errors,
            format!("{at}.protocol"),
            port.text("/protocol"),
            &["SCTP", "TCP", "UDP"],
        );
    }
}

fn check_probe(errors: &mut Vec<FieldError>, at: &str, probe: &Value, name: &str) {
    if !probe.is_object() {
        return;
    }
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    match handlers
        .iter()
        .filter(|one| probe[**one].is_object())
        .count()
    {
        0 => errors.push(FieldError::required(at, "must specify a handler type")),
        1 => {}
        _ => errors.push(FieldError::forbidden(
            at,
            "may not specify more than 1 handler type",
        )),
    }
    if name != "readinessProbe" && probe["successThreshold"].as_i64().unwrap_or(1) != 1 {
        errors.push(FieldError::invalid(
            format!("{at}.successThreshold"),
            &probe["successThreshold"],
            "must be 1",
        ));
    }
}

/// A native sidecar may have probes and hooks; other init containers end before they would matter.
fn check_init(errors: &mut Vec<FieldError>, at: &str, container: &Value) {
    match container.text("/restartPolicy") {
        "Always" => return,
        "" => {}
        other => errors.push(FieldError::unsupported(
            format!("{at}.restartPolicy"),
            other,
            &["Always"],
        )),
    }
    for name in [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ] {
        if container[name].is_object() {
            let why = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(format!("{at}.{name}"), why));
        }
    }
}

/// Whether a JSON number is a port.
pub(super) fn is_port(number: &Value) -> bool {
    number
        .as_i64()
        .is_some_and(|number| (1..=65535).contains(&number))
}
