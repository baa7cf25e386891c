//! DELETE: at once, after a grace period, or once the finalizers are done.

use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Cluster,
    call::Call,
    object::{self, Object as _},
    resources::Resource,
    status::{self, Status},
    store::{Key, Refused},
    watch::Selection,
};

/// `meta.v1` `DeleteOptions`.
#[derive(Debug, Default, Clone)]
struct Options {
    grace_seconds: Option<i64>,
    propagation: String,
    uid: String,
    revision: String,
}

/// What deleting came to.
enum Outcome {
    Removed(Arc<Value>),
    /// It is marked, and stays until somebody lets go of it.
    Marked(Arc<Value>),
}

/// DELETE of one object: returns it, or a `Status`, as its kind does.
pub(crate) fn one(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let resource = call.target.resource;
    let options = Options::of(call)?;
    match delete(cluster, &call.target.key(), &options, call.is_dry_run())? {
        Outcome::Removed(object) if !resource.returns_deleted => {
            let mut details = status::details(resource, object.name());
            details["uid"] = object.uid().into();
            Ok(
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
            )
        }
        Outcome::Removed(object) | Outcome::Marked(object) => Ok(Value::clone(&object)),
    }
}

/// DELETE of a collection: returns the list of what was selected.
pub(crate) fn collection(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let options = Options::of(call)?;
    let selection = Selection::of(call)?;
    let (revision, objects) = cluster
        .store
        .list(call.target.resource, call.target.scope());
    let selected: Vec<&Value> = objects
        .iter()
        .map(|object| &**object)
        .filter(|object| selection.selects(object))
        .collect();
    for object in &selected {
        match delete(
            cluster,
            &Key::of(call.target.resource, object),
            &options,
            call.is_dry_run(),
        ) {
            Ok(_) | Err(Status { code: 404, .. }) => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(call.format.list(
        call.target.resource,
        &selected,
        json!({"resourceVersion": revision.to_string()}),
    ))
}

/// Deletes a pod for an eviction, whose body may hold `deleteOptions`.
pub(crate) fn evict(cluster: &Cluster, call: &Call) -> Result<(), Status> {
    let body = call.decode()?;
    let options = Options::read(&body["deleteOptions"], call)?;
    delete(cluster, &call.target.key(), &options, call.is_dry_run()).map(drop)
}

impl Options {
    fn of(call: &Call) -> Result<Self, Status> {
        let body = if call.body.is_empty() {
            Value::Null
        } else {
            call.decode()?
        };
        Self::read(&body, call)
    }

    fn read(body: &Value, call: &Call) -> Result<Self, Status> {
        let propagation = match body.text("/propagationPolicy") {
            "" => call.query.get("propagationPolicy"),
            given => given,
        };
        if !["", "Background", "Foreground", "Orphan"].contains(&propagation) {
            return Err(Status::bad_request(format!(
                "propagationPolicy \"{propagation}\" is unknown: expected Background, Foreground or Orphan"
            )));
        }
        Ok(Self {
            grace_seconds: body["gracePeriodSeconds"]
                .as_i64()
                .or(call.query.number("gracePeriodSeconds")?),
            propagation: propagation.to_owned(),
            uid: body.text("/preconditions/uid").to_owned(),
            revision: body.text("/preconditions/resourceVersion").to_owned(),
        })
    }

    fn check(&self, resource: &Resource, object: &Value) -> Result<(), Status> {
        for (what, wanted, found) in [
            ("UID", &self.uid, object.uid()),
            ("ResourceVersion", &self.revision, object.revision()),
        ] {
            if !wanted.is_empty() && wanted != found {
                let why = format!(
                    "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
                );
                return Err(Status::conflict(resource, object.name(), &why));
            }
        }
        Ok(())
    }
}

fn delete(
    cluster: &Cluster,
    key: &Key,
    options: &Options,
    dry_run: bool,
) -> Result<Outcome, Status> {
    loop {
        let old = cluster
            .store
            .get(key)
            .ok_or_else(|| Status::not_found(key.resource, &key.name))?;
        options.check(key.resource, &old)?;
        let marked = mark(key.resource, &old, options);
        if dry_run {
            return Ok(Outcome::Marked(old));
        }
        let done = match marked {
            Mark::Remove => cluster
                .store
                .remove(key, old.revision())
                .map(Outcome::Removed),
            Mark::Keep => Ok(Outcome::Marked(old)),
            Mark::Wait(object) => cluster
                .store
                .replace(key, old.revision(), object)
                .map(Outcome::Marked),
            // Watchers see the shortened grace period, then the end.
            Mark::ShortenThenRemove(object) => cluster
                .store
                .replace(key, old.revision(), object)
                .and_then(|shortened| cluster.store.remove(key, shortened.revision()))
                .map(Outcome::Removed),
        };
        match done {
            Ok(outcome) => return Ok(outcome),
            Err(Refused::Stale) => {}
            Err(Refused::Missing | Refused::Exists) => {
                return Err(Status::not_found(key.resource, &key.name));
            }
        }
    }
}

/// What a DELETE does to an object.
enum Mark {
    Remove,
    /// It is already on its way, no slower than this asks for.
    Keep,
    Wait(Value),
    ShortenThenRemove(Value),
}

fn mark(resource: &Resource, old: &Value, options: &Options) -> Mark {
    let grace = grace(resource, old, options);
    let mut object = old.clone();
    match options.propagation.as_str() {
        "Foreground" => add_finalizer(&mut object, "foregroundDeletion"),
        "Orphan" => add_finalizer(&mut object, "orphan"),
        _ => {}
    }
    let held = !object.items("/metadata/finalizers").is_empty()
        || !object.items("/spec/finalizers").is_empty();
    let current = old
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    if old.is_terminating() && current.is_some_and(|current| grace >= current) {
        if grace == 0 && !held {
            return Mark::Remove;
        }
        return if object == *old {
            Mark::Keep
        } else {
            Mark::Wait(object)
        };
    }
    if grace == 0 && !held && !old.is_terminating() {
        return Mark::Remove;
    }
    let until = Timestamp::now() + SignedDuration::from_secs(grace);
    object.set("/metadata/deletionTimestamp", object::at(until));
    object.set("/metadata/deletionGracePeriodSeconds", grace);
    if !old.is_terminating()
        && let Some(generation) = old["metadata"]["generation"].as_i64()
    {
        object.set("/metadata/generation", generation + 1);
    }
    if resource.id() == ("", "namespaces") {
        object.take_out("/metadata/deletionGracePeriodSeconds");
        object.set("/status/phase", "Terminating");
    }
    if grace == 0 && !held {
        Mark::ShortenThenRemove(object)
    } else {
        Mark::Wait(object)
    }
}

/// Only pods are given time: those that run somewhere, and haven't ended.
fn grace(resource: &Resource, object: &Value, options: &Options) -> i64 {
    let runs = !object.text("/spec/nodeName").is_empty();
    let ended = matches!(object.text("/status/phase"), "Succeeded" | "Failed");
    if resource.id() != ("", "pods") || !runs || ended {
        return 0;
    }
    let own = object
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    options.grace_seconds.or(own).unwrap_or(30).max(0)
}

fn add_finalizer(object: &mut Value, name: &str) {
    let finalizers = object.entry("/metadata/finalizers");
    if !finalizers.is_array() {
        *finalizers = json!([]);
    }
    let list = finalizers.as_array_mut().expect("it was just made a list");
    if !list.iter().any(|one| one == name) {
        list.push(name.into());
    }
}
