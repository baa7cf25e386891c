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
#[derive(Debug)]
struct Options {
    grace_seconds: Option<i64>,
    uid: String,
    revision: String,
}

/// DELETE of one object: returns it, or a `Status`, as its kind does.
pub(crate) fn one(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let resource = call.target.resource;
    let key = call.target.key();
    let object = delete(cluster, &key, &Options::of(call)?, call.is_dry_run())?;
    let is_gone = cluster
        .store
        .get(&key)
        .is_none_or(|left| left.uid() != object.uid());
    if is_gone && !resource.returns_deleted {
        let mut details = status::details(resource, object.name());
        details["uid"] = object.uid().into();
        return Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Success", "details": details}));
    }
    Ok(Value::clone(&object))
}

/// DELETE of a collection: returns the list of what was selected.
pub(crate) fn collection(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let options = Options::of(call)?;
    let selection = Selection::of(call)?;
    let resource = call.target.resource;
    let (revision, objects) = cluster.store.list(resource, call.target.scope());
    let objects = objects.iter().map(|object| &**object);
    let selected: Vec<&Value> = objects.filter(|object| selection.selects(object)).collect();
    for object in &selected {
        match delete(
            cluster,
            &Key::of(resource, object),
            &options,
            call.is_dry_run(),
        ) {
            Ok(_) | Err(Status { code: 404, .. }) => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(call.format.list(resource, &selected, revision))
}

impl Options {
    fn of(call: &Call) -> Result<Self, Status> {
        let body = if call.body.is_empty() {
            Value::Null
        } else {
            call.decode()?
        };
        let propagation = match body.text("/propagationPolicy") {
            "" => call.query.get("propagationPolicy"),
            given => given,
        };
        if !["", "Background"].contains(&propagation) {
            return Err(Status::bad_request(format!(
                "propagationPolicy \"{propagation}\" is not supported here: only Background"
            )));
        }
        Ok(Self {
            grace_seconds: body
                .integer("/gracePeriodSeconds")
                .or(call.query.number("gracePeriodSeconds")?),
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

/// Removes the object, or marks it: returns its last state.
fn delete(
    cluster: &Cluster,
    key: &Key,
    options: &Options,
    dry_run: bool,
) -> Result<Arc<Value>, Status> {
    let missing = || Status::not_found(key.resource, &key.name);
    loop {
        let old = cluster.store.get(key).ok_or_else(missing)?;
        options.check(key.resource, &old)?;
        if dry_run {
            return Ok(old);
        }
        let grace = grace(key.resource, &old, options);
        let removes = grace == 0 && !old.is_held();
        let marked = mark(key.resource, &old, grace);
        let done = match marked {
            None if removes => cluster.store.remove(key, old.revision()),
            Some(_) if removes && !old.is_terminating() => {
                cluster.store.remove(key, old.revision())
            }
            None => Ok(old),
            // Watchers of what was on its way see the shortened grace period, then the end.
            Some(object) => cluster
                .store
                .replace(key, old.revision(), object)
                .and_then(|marked| {
                    if removes {
                        cluster.store.remove(key, marked.revision())
                    } else {
                        Ok(marked)
                    }
                }),
        };
        match done {
            Ok(object) => return Ok(object),
            Err(Refused::Stale) => {}
            Err(Refused::Missing | Refused::Exists) => return Err(missing()),
        }
    }
}

/// The object on its way, `None` if it already is, no slower than this asks for.
fn mark(resource: &Resource, old: &Value, grace: i64) -> Option<Value> {
    let current = old
        .integer("/metadata/deletionGracePeriodSeconds")
        .unwrap_or(0);
    if old.is_terminating() && grace >= current {
        return None;
    }
    let mut object = old.clone();
    let until = Timestamp::now() + SignedDuration::from_secs(grace);
    object.set("/metadata/deletionTimestamp", object::at(until));
    object.set("/metadata/deletionGracePeriodSeconds", grace);
    if let Some(generation) = old
        .integer("/metadata/generation")
        .filter(|_| !old.is_terminating())
    {
        object.set("/metadata/generation", generation + 1);
    }
    if resource.id() == ("", "namespaces") {
        object.take_out("/metadata/deletionGracePeriodSeconds");
        object.set("/status/phase", "Terminating");
    }
    Some(object)
}

/// Only pods are given time: those that run somewhere, and haven't ended.
fn grace(resource: &Resource, object: &Value, options: &Options) -> i64 {
    let runs = !object.text("/spec/nodeName").is_empty();
    let ended = matches!(object.text("/status/phase"), "Succeeded" | "Failed");
    if resource.id() != ("", "pods") || !runs || ended {
        return 0;
    }
    let own = object.integer("/spec/terminationGracePeriodSeconds");
    options.grace_seconds.or(own).unwrap_or(30).max(0)
}
