//! GET: one object, or a list. A list comes whole: `limit` is a wish that a server may ignore.

use serde_json::Value;

use super::{Cluster, call::Call, status::Status, watch::Selection};

/// The object that `call` names, in the form it asks for.
pub(crate) fn get(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let target = &call.target;
    let object = cluster.store.get(&target.key());
    let object = object.ok_or_else(|| Status::not_found(target.resource, &target.name))?;
    Ok(call.format.object(&object))
}

/// The objects that `call` selects.
pub(crate) fn list(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let resource = call.target.resource;
    let selection = Selection::of(call)?;
    let (latest, objects) = cluster.store.list(resource, call.target.scope());
    let wanted = call.query.number::<u64>("resourceVersion")?.unwrap_or(0);
    if wanted > latest {
        let why = format!("Timeout: Too large resource version: {wanted}, current: {latest}");
        return Err(Status::new(504, "Timeout", why));
    }
    if call.query.get("resourceVersionMatch") == "Exact" && wanted != latest {
        return Err(Status::expired(wanted, latest));
    }
    let objects = objects.iter().map(|object| &**object);
    let selected: Vec<&Value> = objects.filter(|object| selection.selects(object)).collect();
    Ok(call.format.list(resource, &selected, latest))
}
