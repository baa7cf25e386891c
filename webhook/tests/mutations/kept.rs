//! What a pod's author wrote, looked for in the patched pod by no code of the
//! webhook's own.

use serde_json::{Value, json};

const OURS: [&str; 2] = ["netting-init", "netting-sidecar"];
const LABEL: &str = "netting.dev/injected";
const STATUS: &str = "netting.dev/status";
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Lists and objects that come into being with what is added to them, innermost first.
const PARENTS: [&str; 5] = [
    "/spec/initContainers",
    "/spec/volumes",
    "/metadata/annotations",
    "/metadata/labels",
    "/metadata",
];
const PLACES: [(&str, &str); 5] = [
    ("/livenessProbe", "liveness"),
    ("/readinessProbe", "readiness"),
    ("/startupProbe", "startup"),
    ("/lifecycle/postStart", "poststart"),
    ("/lifecycle/preStop", "prestop"),
];

/// Nothing is changed but what asks in probes and hooks, to ask at the admin port
/// instead (`httpGet` only where `http` says so); nothing is gone, and everything is in
/// its order.
///
/// # Panics
/// If it is not so.
pub(crate) fn assert_kept(original: &Value, patched: &Value, http: bool) {
    let mut left = patched.clone();
    for list in ["/spec/initContainers", "/spec/containers"] {
        if let Some(Value::Array(containers)) = left.pointer_mut(list) {
            containers.retain(|container| !OURS.iter().any(|name| container["name"] == *name));
            let before = original.pointer(list).and_then(Value::as_array);
            for (container, before) in containers.iter_mut().zip(before.into_iter().flatten()) {
                put_handlers_back(container, before, http);
            }
        }
    }
    if let Some(Value::Array(volumes)) = left.pointer_mut("/spec/volumes") {
        volumes.retain(|volume| volume["name"] != "netting-token");
    }
    for (object, key) in [
        ("/metadata/labels", LABEL),
        ("/metadata/annotations", STATUS),
        ("/metadata/annotations", DEFAULT_CONTAINER),
    ] {
        let before = original.pointer(object).and_then(|object| object.get(key));
        let is_changed = key == DEFAULT_CONTAINER && before.is_some();
        if let (Some(Value::Object(members)), false) = (left.pointer_mut(object), is_changed) {
            members.remove(key);
            if let Some(before) = before {
                members.insert(key.to_owned(), before.clone());
            }
        }
    }
    put_scraping_back(&mut left, original);
    assert_eq!(plain(left), plain(original.clone()), "{patched:#}");
}

/// Where a pod is scraped already, its annotations lead to the sidecar, which serves
/// the application's metrics with its own.
fn put_scraping_back(left: &mut Value, original: &Value) {
    let before = |key: &str| original.pointer("/metadata/annotations")?.get(key);
    if before("prometheus.io/scrape") != Some(&json!("true")) {
        return;
    }
    for (key, ours) in [
        ("prometheus.io/port", "15020"),
        ("prometheus.io/path", "/metrics"),
    ] {
        let now = left.pointer_mut("/metadata/annotations");
        let now = now.and_then(|annotations| annotations.get_mut(key));
        if let (Some(now), Some(before)) = (now, before(key))
            && *now == ours
        {
            *now = before.clone();
        }
    }
}

fn put_handlers_back(container: &mut Value, before: &Value, http: bool) {
    for (pointer, name) in PLACES {
        let (Some(now), Some(was)) = (container.pointer_mut(pointer), before.pointer(pointer))
        else {
            continue;
        };
        if now == was {
            continue;
        }
        let path = format!(
            "/probe/{}/{name}",
            before["name"].as_str().unwrap_or_default()
        );
        let mut get = json!({"path": path, "port": 15020});
        let mut expected = was.clone();
        let members = expected.as_object_mut().expect("only handlers are changed");
        match members.remove("httpGet").filter(|get| !get.is_null()) {
            Some(own) => {
                assert!(http, "{pointer} reaches the application as it is");
                if own.get("scheme").is_some() {
                    get["scheme"] = json!("HTTP");
                }
            }
            None => {
                assert!(!pointer.starts_with("/lifecycle"), "such a hook never runs");
                members.retain(|member, value| {
                    value.is_null() || !["tcpSocket", "grpc"].contains(&member.as_str())
                });
            }
        }
        members.insert("httpGet".to_owned(), get);
        assert_eq!(
            *now, expected,
            "{pointer} asks the same as often and as long"
        );
        *now = was.clone();
    }
}

/// Without what means the same as nothing: `null` anywhere, and lists and objects that
/// may come and go with what is added to them.
pub(crate) fn plain(value: Value) -> Value {
    let mut value = without_nulls(value);
    for pointer in PARENTS {
        let is_empty = match value.pointer(pointer) {
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(object)) => object.is_empty(),
            _ => false,
        };
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer has slashes");
        if let (true, Some(Value::Object(parent))) = (is_empty, value.pointer_mut(parent)) {
            parent.remove(key);
        }
    }
    value
}

/// `null` is as good as absent, in every object that Kubernetes has.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
