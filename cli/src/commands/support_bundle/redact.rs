//! Cuts out what is nobody else's business. What is not known to be harmless goes.

mod text;

use netting_webhook::names::{DOMAIN, INIT_CONTAINER, SIDECAR_CONTAINER};
use serde_json::{Map, Value};

pub(super) use text::text;

/// What stands in its place.
const REDACTED: &str = "<redacted>";
/// The containers of Netting's own pods, and of its Deployments.
const OURS: [&str; 4] = [INIT_CONTAINER, SIDECAR_CONTAINER, "catalog", "webhook"];
/// Where a pod's spec has containers, and its status what became of them.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
const STATUSES: [&str; 3] = [
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
];
/// What a variable of ours that holds a credential would be called.
const TELLTALE: [&str; 5] = ["TOKEN", "SECRET", "PASSWORD", "HEADERS", "KEY"];

/// An object of Kubernetes, wherever in it there are containers and annotations.
pub(super) fn object(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("kind").is_some_and(|kind| kind == "Secret") {
                for field in ["data", "stringData"] {
                    if let Some(Value::Object(entries)) = fields.get_mut(field) {
                        entries.values_mut().for_each(redact);
                    }
                }
            }
            fields.remove("managedFields");
            annotations(fields);
            statuses(fields);
            event(fields);
            for field in ["volumeAttributes", "options"] {
                if let Some(Value::Object(entries)) = fields.get_mut(field) {
                    entries.values_mut().for_each(redact);
                }
            }
            for list in CONTAINERS {
                let items = fields.get_mut(list).and_then(Value::as_array_mut);
                items.into_iter().flatten().for_each(container);
            }
            fields.values_mut().for_each(object);
        }
        Value::Array(items) => items.iter_mut().for_each(object),
        // A message may repeat what it was about.
        Value::String(_) => clean(value),
        _ => {}
    }
}

fn redact(value: &mut Value) {
    *value = REDACTED.into();
}

/// Anybody may write anything into an annotation; what is Netting's own is known.
fn annotations(fields: &mut Map<String, Value>) {
    let Some(Value::Object(annotations)) = fields.get_mut("annotations") else {
        return;
    };
    for (key, value) in annotations {
        if key.starts_with(DOMAIN) {
            clean(value);
        } else {
            redact(value);
        }
    }
}

/// What is ours is kept, but for credentials that somebody wrote into it: exporters'
/// belong into Secrets, and are refused where they are not.
fn clean(value: &mut Value) {
    if let Value::String(said) = value {
        *said = text(said);
    }
}

/// What applications say when they end, and what is said of them, may be anything: a pod's
/// status keeps the words of Netting's own containers alone.
fn statuses(fields: &mut Map<String, Value>) {
    let spec = fields.get("spec").unwrap_or(&Value::Null);
    let of_spec = CONTAINERS.iter().filter_map(|list| spec[list].as_array());
    let ours: Vec<Value> = of_spec
        .flatten()
        .filter(|container| is_ours(container))
        .map(|container| container["name"].clone())
        .collect();
    for list in STATUSES {
        let status = fields.get_mut("status").and_then(|all| all.get_mut(list));
        let others = status.and_then(Value::as_array_mut).into_iter().flatten();
        others
            .filter(|one| !ours.contains(&one["name"]))
            .for_each(messages);
    }
}

fn messages(value: &mut Value) {
    let Value::Object(fields) = value else {
        return;
    };
    for (key, value) in fields {
        match key.as_str() {
            "message" => redact(value),
            _ => messages(value),
        }
    }
}

/// An Event about a container (`spec.containers{app}`) quotes what its probes answer.
fn event(fields: &mut Map<String, Value>) {
    let about = fields.get("regarding").unwrap_or(&Value::Null);
    let path = about["fieldPath"].as_str().unwrap_or_default();
    let container = path.split(['{', '}']).nth(1);
    if container.is_some_and(|name| !OURS.contains(&name))
        && let Some(note) = fields.get_mut("note")
    {
        redact(note);
    }
}

fn is_ours(container: &Value) -> bool {
    let command = container["command"][0].as_str();
    OURS.iter().any(|name| container["name"] == *name)
        && command.is_some_and(|command| command.starts_with("/netting/"))
}

fn container(container: &mut Value) {
    let ours = is_ours(container);
    if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
        for variable in variables {
            let name = variable["name"].as_str().unwrap_or_default();
            let harmless = ours
                && name.starts_with("NETTING_")
                && !TELLTALE.iter().any(|tale| name.contains(tale));
            match variable.get_mut("value") {
                Some(value) if harmless => clean(value),
                Some(value) => redact(value),
                None => {}
            }
        }
    }
    if ours {
        return;
    }
    let Value::Object(fields) = container else {
        return;
    };
    for field in ["command", "args"] {
        if let Some(value) = fields.get_mut(field) {
            redact(value);
        }
    }
    for field in [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ] {
        if let Some(value) = fields.get_mut(field) {
            commands(value);
        }
    }
}

/// Of a probe or a hook: what it runs, and the headers that it sends.
fn commands(value: &mut Value) {
    let Value::Object(fields) = value else {
        return;
    };
    for (key, value) in fields {
        match key.as_str() {
            "command" | "httpHeaders" => redact(value),
            _ => commands(value),
        }
    }
}

#[cfg(test)]
mod tests;
