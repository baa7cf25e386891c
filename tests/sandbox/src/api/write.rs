//! POST, PUT and PATCH: decode, fill in, admit, check, store.

mod create;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use self::create::create;
use self::create::{create_object, identify};
use super::{
    Cluster,
    call::Call,
    defaults, networks,
    object::Object as _,
    patch::{self, PatchKind},
    status::Status,
    store::{Key, Refused},
    strict, validate, webhooks,
};

/// How often a write is tried again that others got in the way of.
const RETRIES_MAX: usize = 10;

/// PUT of an object or of one of its parts.
pub(crate) async fn update(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let body = call.decode()?;
    write(cluster, call, |_| Ok(body.clone())).await
}

/// PATCH of an object or of one of its parts; server-side apply makes it if it is missing.
/// Returns the object, and whether it was made.
pub(crate) async fn patch(cluster: &Cluster, call: &Call) -> Result<(Value, bool), Status> {
    let kind = call.target.resource.kind;
    let how = PatchKind::parse(&call.content_type)?;
    let mut body = call.decode()?;
    if how != PatchKind::Apply {
        let patched = write(cluster, call, |old| patch::patched(how, kind, old, &body));
        return Ok((patched.await?, false));
    }
    let manager = call.query.get("fieldManager");
    if manager.is_empty() {
        return Err(Status::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    identify(call, &mut body)?;
    body.take_out("/metadata/managedFields");
    let applied =
        |old: &Value| patch::apply::apply(kind, old, &body, manager, call.query.flag("force"));
    let exists = cluster.store.get(&call.target.key()).is_some();
    if !exists && call.target.subresource.is_empty() {
        let object = applied(&Value::Null)?;
        let made = create_object(cluster, call, object).await?;
        return Ok((made, true));
    }
    Ok((write(cluster, call, applied).await?, false))
}

/// Replaces the object that `call` names by what `wish` makes of it, again if somebody else was
/// faster and the caller didn't insist on a version.
async fn write(
    cluster: &Cluster,
    call: &Call,
    wish: impl Fn(&Value) -> Result<Value, Status> + Send,
) -> Result<Value, Status> {
    let resource = call.target.resource;
    let key = call.target.key();
    let missing = || Status::not_found(resource, &key.name);
    for _ in 0..RETRIES_MAX {
        let old = cluster.store.get(&key).ok_or_else(missing)?;
        let new = wish(&old)?;
        let insists = !new.revision().is_empty() && new.revision() != old.revision();
        if insists || (!new.uid().is_empty() && new.uid() != old.uid()) {
            return Err(Status::stale(resource, &key.name));
        }
        let new = prepare(cluster, call, &old, new).await?;
        if call.is_dry_run() {
            return Ok(new);
        }
        match settle(cluster, &key, &old, new) {
            Ok(stored) => return Ok(Value::clone(&stored)),
            Err(Refused::Missing | Refused::Exists) => return Err(missing()),
            Err(Refused::Stale) => {}
        }
    }
    Err(Status::stale(resource, &key.name))
}

/// `new` as it may take the place of `old`: with what writers can't change, admitted and checked.
async fn prepare(
    cluster: &Cluster,
    call: &Call,
    old: &Value,
    mut new: Value,
) -> Result<Value, Status> {
    let resource = call.target.resource;
    identify(call, &mut new)?;
    strict::check(call, resource, &new)?;
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "generateName",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let pointer = format!("/metadata/{field}");
        match old.pointer(&pointer) {
            Some(kept) => new.set(&pointer, kept.clone()),
            None => drop(new.take_out(&pointer)),
        }
    }
    if call.target.subresource == "status" {
        let mut status_only = old.clone();
        for part in [
            "/status",
            "/metadata/labels",
            "/metadata/annotations",
            "/metadata/managedFields",
        ] {
            match new.pointer(part) {
                Some(value) => status_only.set(part, value.clone()),
                None => drop(status_only.take_out(part)),
            }
        }
        new = status_only;
    } else if resource.has_status() {
        match old.get("status") {
            Some(status) => new["status"] = status.clone(),
            None => drop(new.take_out("/status")),
        }
    }
    defaults::apply(resource, &mut new);
    networks::keep(cluster, resource, old, &mut new)?;
    let mut new = webhooks::mutate(cluster, call, "UPDATE", old, new).await?;
    defaults::apply(resource, &mut new);
    if call.target.subresource.is_empty() {
        validate::check(resource, &new, Some(old))?;
        if resource.has_generation && specification(&new) != specification(old) {
            let generation = old.integer("/metadata/generation").unwrap_or(0);
            new.set("/metadata/generation", generation + 1);
        }
    }
    Ok(new)
}

/// Stores `new`, or removes the object if this took away the last thing that held it.
fn settle(
    cluster: &Cluster,
    key: &Key,
    old: &Arc<Value>,
    new: Value,
) -> Result<Arc<Value>, Refused> {
    let grace = new
        .integer("/metadata/deletionGracePeriodSeconds")
        .unwrap_or(0);
    if new.is_terminating() && old.is_held() && !new.is_held() && grace == 0 {
        return cluster.store.remove(key, old.revision());
    }
    cluster.store.replace(key, old.revision(), new)
}

/// What `metadata.generation` counts changes of.
fn specification(object: &Value) -> Value {
    let mut object = object.clone();
    object.take_out("/metadata");
    object.take_out("/status");
    object
}
