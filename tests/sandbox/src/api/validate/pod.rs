//! A pod's specification.

use std::collections::HashSet;

use serde_json::Value;

use super::names;
use crate::api::{object::Object as _, status::FieldError};

const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// Everything that is wrong with a new pod's `spec`, which is at `at`.
pub(super) fn spec(at: &str, spec: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    if spec.items("/containers").is_empty() {
        check
            .errors
            .push(FieldError::required(format!("{at}.containers"), ""));
    }
    let policies = ["Always", "OnFailure", "Never"];
    check.one_of(
        &format!("{at}.restartPolicy"),
        spec.text("/restartPolicy"),
        &policies,
    );
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    check.one_of(
        &format!("{at}.dnsPolicy"),
        spec.text("/dnsPolicy"),
        &policies,
    );
    let mut volumes = HashSet::new();
    for (index, volume) in spec.items("/volumes").iter().enumerate() {
        check.name(&format!("{at}.volumes[{index}].name"), volume, &mut volumes);
    }
    let mut seen = HashSet::new();
    for kind in ["initContainers", "containers"] {
        for (index, container) in spec.items(&format!("/{kind}")).iter().enumerate() {
            let field = format!("{at}.{kind}[{index}]");
            check.name(&format!("{field}.name"), container, &mut seen);
            check.container(&field, container, &volumes);
            if kind == "initContainers" {
                check.init(&field, container);
            }
        }
    }
    check.errors
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
        for container in spec.each(kind) {
            container.take_out("/image");
        }
    }
    spec
}

#[derive(Default)]
struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    fn one_of(&mut self, field: &str, value: &str, known: &[&str]) {
        if !value.is_empty() && !known.contains(&value) {
            self.errors
                .push(FieldError::unsupported(field, value, known));
        }
    }

    fn name<'a>(&mut self, field: &str, item: &'a Value, seen: &mut HashSet<&'a str>) {
        let name = item.text("/name");
        if name.is_empty() {
            self.errors.push(FieldError::required(field, ""));
        } else if !names::is_label(name) {
            self.errors.push(names::not_a_label(field, &item["name"]));
        } else if !seen.insert(name) {
            self.errors
                .push(FieldError::duplicate(field, &item["name"]));
        }
    }

    fn container(&mut self, at: &str, container: &Value, volumes: &HashSet<&str>) {
        if container.text("/image").is_empty() {
            self.errors
                .push(FieldError::required(format!("{at}.image"), ""));
        }
        for (index, port) in container.items("/ports").iter().enumerate() {
            self.port(&format!("{at}.ports[{index}]"), port);
        }
        for (index, variable) in container.items("/env").iter().enumerate() {
            if variable.text("/name").is_empty() {
                self.errors
                    .push(FieldError::required(format!("{at}.env[{index}].name"), ""));
            }
            if !variable.text("/value").is_empty() && variable["valueFrom"].is_object() {
                let why = "may not be specified when `value` is not empty";
                let field = format!("{at}.env[{index}].valueFrom");
                self.errors
                    .push(FieldError::invalid(field, &"".into(), why));
            }
        }
        let mut paths = HashSet::new();
        for (index, mount) in container.items("/volumeMounts").iter().enumerate() {
            let at = format!("{at}.volumeMounts[{index}]");
            let (name, path) = (mount.text("/name"), mount.text("/mountPath"));
            if !volumes.contains(name) {
                self.errors
                    .push(FieldError::not_found(format!("{at}.name"), name));
            }
            if path.is_empty() {
                self.errors
                    .push(FieldError::required(format!("{at}.mountPath"), ""));
            } else if !paths.insert(path) {
                let value = &mount["mountPath"];
                self.errors.push(FieldError::invalid(
                    format!("{at}.mountPath"),
                    value,
                    "must be unique",
                ));
            }
        }
        for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if container[name].is_object() {
                self.probe(&format!("{at}.{name}"), &container[name], name);
            }
        }
    }

    fn port(&mut self, at: &str, port: &Value) {
        if !is_port(&port["containerPort"]) {
            let field = format!("{at}.containerPort");
            self.errors.push(FieldError::invalid(
                field,
                &port["containerPort"],
                PORT_RANGE,
            ));
        }
        if port.text("/name").len() > 15 {
            let why = "must be no more than 15 characters";
            self.errors.push(FieldError::invalid(
                format!("{at}.name"),
                &port["name"],
                why,
            ));
        }
        self.one_of(
            &format!("{at}.protocol"),
            port.text("/protocol"),
            &["SCTP", "TCP", "UDP"],
        );
    }

    fn probe(&mut self, at: &str, probe: &Value, name: &str) {
        let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
        match handlers
            .iter()
            .filter(|one| probe[**one].is_object())
            .count()
        {
            0 => self
                .errors
                .push(FieldError::required(at, "must specify a handler type")),
            1 => {}
            _ => {
                let why = "may not specify more than 1 handler type";
                self.errors.push(FieldError::forbidden(at, why));
            }
        }
        let threshold = &probe["successThreshold"];
        if name != "readinessProbe" && threshold.as_i64().unwrap_or(1) != 1 {
            let field = format!("{at}.successThreshold");
            self.errors
                .push(FieldError::invalid(field, threshold, "must be 1"));
        }
    }

    /// A native sidecar may have probes and hooks; other init containers end before they would
    /// matter.
    fn init(&mut self, at: &str, container: &Value) {
        let policy = container.text("/restartPolicy");
        self.one_of(&format!("{at}.restartPolicy"), policy, &["Always"]);
        for name in [
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
        ] {
            if policy != "Always" && container[name].is_object() {
                let why = "may not be set for init containers without restartPolicy=Always";
                self.errors
                    .push(FieldError::forbidden(format!("{at}.{name}"), why));
            }
        }
    }
}

/// Whether a JSON number is a port.
pub(super) fn is_port(number: &Value) -> bool {
    number
        .as_i64()
        .is_some_and(|number| (1..=65535).contains(&number))
}
