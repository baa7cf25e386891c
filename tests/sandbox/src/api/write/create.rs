//! POST: a new object.

use serde_json::{Value, json};

use crate::api::{
    Cluster, admission,
    call::Call,
    defaults, networks,
    object::{Object as _, name_suffix, new_uid, now},
    resources::Resource,
    status::Status,
    store::Key,
    strict, validate, webhooks,
};

/// POST to a collection: returns the new object.
pub(crate) async fn create(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let object = call.decode()?;
    create_object(cluster, call, object).await
}

/// Makes `object` of the kind that `call` names.
pub(super) async fn create_object(
    cluster: &Cluster,
    call: &Call,
    mut object: Value,
) -> Result<Value, Status> {
    let resource = call.target.resource;
    identify(call, &mut object)?;
    strict::check(call, resource, &object)?;
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        object.take_out(&format!("/metadata/{field}"));
    }
    if resource.has_status() && resource.id() != ("", "nodes") {
        object.take_out("/status");
    }
    cluster.check_namespace(resource, &call.target.namespace, object.name())?;
    defaults::apply(resource, &mut object);
    admission::admit(cluster, resource, &mut object)?;
    let mut object = webhooks::mutate(cluster, call, "CREATE", &Value::Null, object).await?;
    defaults::apply(resource, &mut object);
    let generated = object.name().is_empty();
    let prefix = object.text("/metadata/generateName").to_owned();
    if generated && !prefix.is_empty() {
        object.set("/metadata/name", format!("{prefix}{}", name_suffix()));
    }
    object.set("/metadata/uid", new_uid());
    object.set("/metadata/creationTimestamp", now());
    if resource.has_generation {
        object.set("/metadata/generation", 1);
    }
    complete(resource, &mut object);
    networks::allocate(cluster, resource, &mut object)?;
    validate::check(resource, &object, None)?;
    if call.is_dry_run() {
        return Ok(object);
    }
    let key = Key::of(resource, &object);
    let stored = cluster
        .store
        .create(&key, object)
        .map_err(|_| Status::already_exists(resource, &key.name))?;
    cluster.created(&key);
    Ok(Value::clone(&stored))
}

/// Fills in kind, version and namespace from the path, or refuses those that differ.
pub(super) fn identify(call: &Call, object: &mut Value) -> Result<(), Status> {
    let resource = call.target.resource;
    if !object.is_object() {
        return Err(Status::bad_request(
            "the body of the request must be an object",
        ));
    }
    let version = resource.api_version();
    for (field, expected) in [("apiVersion", version.as_str()), ("kind", resource.kind)] {
        let given = object.text(&format!("/{field}"));
        if !given.is_empty() && given != expected {
            return Err(Status::bad_request(format!(
                "the {field} in the data ({given}) does not match the expected {field} ({expected})"
            )));
        }
        object.set(&format!("/{field}"), expected);
    }
    if !call.target.name.is_empty() {
        object.default_to("/metadata/name", call.target.name.as_str());
    }
    if !call.target.name.is_empty() && object.name() != call.target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            object.name(),
            call.target.name
        )));
    }
    if !resource.namespaced {
        object.take_out("/metadata/namespace");
        return Ok(());
    }
    if call.target.namespace.is_empty() {
        return Err(Status::bad_request(
            "an empty namespace may not be set during creation",
        ));
    }
    let given = object.namespace();
    if !given.is_empty() && given != call.target.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    object.set("/metadata/namespace", call.target.namespace.as_str());
    Ok(())
}

/// What a new object of some kinds starts with, whatever was sent.
fn complete(resource: &Resource, object: &mut Value) {
    match resource.id() {
        ("", "pods") => {
            object.set("/status/phase", "Pending");
            let class = admission::qos_class(object);
            object.set("/status/qosClass", class);
        }
        ("", "namespaces") => {
            object.set("/spec/finalizers", json!(["kubernetes"]));
            object.set("/status/phase", "Active");
            // A generated name was not there yet when the defaults were filled in.
            let name = object.name().to_owned();
            object.set("/metadata/labels/kubernetes.io~1metadata.name", name);
        }
        // A Job finds its pods by its own identity, unless it says how.
        ("batch", "jobs") if object["spec"]["manualSelector"] != true => {
            let (name, uid) = (object.name().to_owned(), object.uid().to_owned());
            for (label, value) in [("controller-uid", &uid), ("job-name", &name)] {
                let labels = "/spec/template/metadata/labels";
                object.set(
                    &format!("{labels}/batch.kubernetes.io~1{label}"),
                    value.as_str(),
                );
                object.set(&format!("{labels}/{label}"), value.as_str());
            }
            object.set(
                "/spec/selector/matchLabels/batch.kubernetes.io~1controller-uid",
                uid,
            );
        }
        _ => {}
    }
}
