//! POST, PUT and PATCH: decode, fill in, admit, check, store.

mod create;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use self::create::create;
use self::create::{create_object, identify};
use super::{
    Cluster,
    call::Call,
    defaults, fields, networks,
    object::Object as _,
    patch::{self, PatchKind},
    status::Status,
    store::{Key, Refused},
    strict, validate, webhooks,
};

/// How often a write is tried again that others got in the way of.
const RETRIES_MAX: usize = 10;

/// What a write wants the object to become.
pub(crate) enum Wish {
    /// This, written by whoever calls.
    Update(Value),
    /// This, with `managedFields` already right.
    Applied(Value),
}

/// PUT of an object or of one of its parts.
pub(crate) async fn update(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let body = call.decode()?;
    write(cluster, call, |_| Ok(Wish::Update(body.clone()))).await
}

/// PATCH of an object or of one of its parts; server-side apply makes it if it is missing.
/// Returns the object, and whether it was made.
pub(crate) async fn patch(cluster: &Cluster, call: &Call) -> Result<(Value, bool), Status> {
    let resource = call.target.resource;
    let how = PatchKind::parse(&call.content_type)?;
    let body = call.decode()?;
    if how != PatchKind::Apply {
        let patched = write(cluster, call, |old| {
            patch::apply(how, resource.kind, old, &body).map(Wish::Update)
        })
        .await?;
        return Ok((patched, false));
    }
    if call.query.get("fieldManager").is_empty() {
        return Err(Status::bad_request(
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
    let version = resource.api_version();
    let author = call.author(&version);
    let force = call.query.flag("force");
    let mut config = body;
    identify(call, &mut config)?;
    config.take_out("/metadata/managedFields");
    let exists = cluster.store.get(&call.target.key()).is_some();
    if !exists && call.target.subresource.is_empty() {
        let object = fields::apply::apply(resource.kind, &Value::Null, &config, author, force)?;
        return create_object(cluster, call, object, true)
            .await
            .map(|object| (object, true));
    }
    let applied = write(cluster, call, |old| {
        fields::apply::apply(resource.kind, old, &config, author, force).map(Wish::Applied)
    });
    Ok((applied.await?, false))
}

/// Replaces the object that `call` names by what `wish` makes of it, again if somebody else was
/// faster and the caller didn't insist on a version.
pub(crate) async fn write(
    cluster: &Cluster,
    call: &Call,
    wish: impl Fn(&Value) -> Result<Wish, Status> + Send,
) -> Result<Value, Status> {
    let resource = call.target.resource;
    let key = call.target.key();
    for _ in 0..RETRIES_MAX {
        let old = cluster
            .store
            .get(&key)
            .ok_or_else(|| Status::not_found(resource, &key.name))?;
        let (new, recorded) = match wish(&old)? {
            Wish::Update(new) => (new, false),
            Wish::Applied(new) => (new, true),
        };
        let insists = !new.revision().is_empty() && new.revision() != old.revision();
        if insists || (!new.uid().is_empty() && new.uid() != old.uid()) {
            return Err(Status::stale(resource, &key.name));
        }
        let new = prepare(cluster, call, &old, new, recorded).await?;
        if call.is_dry_run() {
            return Ok(new);
        }
        match settle(cluster, &key, &old, new) {
            Ok(stored) => return Ok(Value::clone(&stored)),
            Err(Refused::Missing | Refused::Exists) => {
                return Err(Status::not_found(resource, &key.name));
            }
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
    recorded: bool,
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
    if !recorded {
        let version = resource.api_version();
        fields::record(resource.kind, old, &mut new, call.author(&version));
    }
    let mut new = webhooks::mutate(cluster, call, "UPDATE", old, new).await?;
    defaults::apply(resource, &mut new);
    if call.target.subresource.is_empty() {
        validate::check(resource, &new, Some(old))?;
        if resource.has_generation && specification(&new) != specification(old) {
            let generation = old
                .pointer("/metadata/generation")
                .and_then(Value::as_i64)
                .unwrap_or(0);
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
    let held =
        !new.items("/metadata/finalizers").is_empty() || !new.items("/spec/finalizers").is_empty();
    let was_held =
        !old.items("/metadata/finalizers").is_empty() || !old.items("/spec/finalizers").is_empty();
    let grace = new
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    if new.is_terminating() && was_held && !held && grace == 0 {
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
