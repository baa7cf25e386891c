//! What the flags change about the manifests. Pure: objects in, objects out.

use netting_webhook::names::{KUBE_SYSTEM, WEBHOOK};
use serde_json::{Value, json};

use crate::cluster::SYSTEM_NAMESPACE;

use super::settings::{Changes, Container, IMAGE};

pub(super) fn apply(changes: &Changes, objects: &mut [Value]) {
    for object in objects {
        match object["kind"].as_str().unwrap_or_default() {
            "Deployment" => deployment(changes, object),
            "MutatingWebhookConfiguration" => configuration(changes, object),
            _ => {}
        }
        if let Some(namespace) = &changes.namespace {
            rename(object, namespace);
        }
    }
}

/// Puts an object, and whom it refers to, into another namespace.
fn rename(object: &mut Value, namespace: &str) {
    if object["kind"] == "Namespace" {
        object["metadata"]["name"] = namespace.into();
    }
    for pointer in ["/metadata", "/subjects/0"] {
        let found = object.pointer_mut(pointer);
        if let Some(own) = found.and_then(|found| found.get_mut("namespace")) {
            debug_assert_eq!(own, SYSTEM_NAMESPACE);
            *own = namespace.into();
        }
    }
}

fn configuration(changes: &Changes, object: &mut Value) {
    for webhook in items(&mut object["webhooks"]) {
        if let Some(policy) = &changes.failure_policy {
            webhook["failurePolicy"] = policy.as_str().into();
        }
        let Some(namespace) = &changes.namespace else {
            continue;
        };
        webhook["clientConfig"]["service"]["namespace"] = namespace.as_str().into();
        for expression in items(&mut webhook["namespaceSelector"]["matchExpressions"]) {
            if expression["key"] == "kubernetes.io/metadata.name" {
                expression["values"] = json!([KUBE_SYSTEM, namespace]);
            }
        }
    }
}

fn deployment(changes: &Changes, object: &mut Value) {
    let own = match object["metadata"]["name"].as_str() {
        Some(WEBHOOK) => &changes.webhook,
        _ => &changes.catalog,
    };
    let containers = &mut object["spec"]["template"]["spec"]["containers"];
    for container in items(containers) {
        if let Some(policy) = &changes.image_pull_policy {
            container["imagePullPolicy"] = policy.as_str().into();
        }
        if let Some(image) = &changes.image {
            container["image"] = image.as_str().into();
            for variable in items(&mut container["env"]) {
                if variable["value"] == IMAGE {
                    variable["value"] = image.as_str().into();
                }
            }
        }
        give(container, own);
    }
}

fn give(container: &mut Value, own: &Container) {
    if let Some(variables) = container["env"].as_array_mut() {
        let added = own.env.iter();
        variables.extend(added.map(|(name, value)| json!({"name": name, "value": value})));
        if let Some(exporters) = &own.exporters {
            exporters.give(variables);
        }
    }
    if !own.args.is_empty() {
        container["args"] = json!(own.args);
    }
}

fn items(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}
