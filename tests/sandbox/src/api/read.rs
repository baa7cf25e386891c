//! GET: one object, or a list, whole or in pages.

mod position;

use std::sync::Arc;

use serde_json::Value;

use self::position::Position;
use super::{
    Cluster, call::Call, object::Object as _, status::Status, store::Forgotten, watch::Selection,
};

/// The object that `call` names, in the form it asks for.
pub(crate) fn get(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let target = &call.target;
    let object = cluster.store.get(&target.key());
    let object = object.ok_or_else(|| Status::not_found(target.resource, &target.name))?;
    Ok(call.format.object(&object))
}

/// The objects that `call` selects, up to its `limit`. What is left is told by a token for the next
/// page, which shows what was there when the first one was asked for.
pub(crate) fn list(cluster: &Cluster, call: &Call) -> Result<Value, Status> {
    let selection = Selection::of(call)?;
    let limit = call.query.number::<usize>("limit")?.filter(|it| *it > 0);
    let scope = call.target.scope();
    let position = match call.query.get("continue") {
        "" => None,
        token => Some(Position::parse(token, scope)?),
    };
    let (revision, objects) = state(cluster, call, position.as_ref())?;
    let objects = objects.iter().map(|object| &**object);
    let mut selected = objects
        .filter(|object| position.as_ref().is_none_or(|it| it.is_before(object)))
        .filter(|object| selection.selects(object));
    let page: Vec<&Value> = selected
        .by_ref()
        .take(limit.unwrap_or(usize::MAX))
        .collect();
    let left = selected.count();
    let mut list = call.format.list(call.target.resource, &page, revision);
    if let Some(last) = page.last().filter(|_| left > 0) {
        let token = Position::after(last, revision).token(scope);
        list.set("/metadata/continue", token);
        // A real server doesn't look how many of the others are selected.
        if selection.is_of_all() {
            list.set("/metadata/remainingItemCount", left);
        }
    }
    Ok(list)
}

/// All objects in the state that `call` asks for, with its revision.
fn state(
    cluster: &Cluster,
    call: &Call,
    position: Option<&Position>,
) -> Result<(u64, Vec<Arc<Value>>), Status> {
    let (resource, scope) = (call.target.resource, call.target.scope());
    let (latest, objects) = cluster.store.list(resource, scope);
    let asked = call.query.number::<u64>("resourceVersion")?.unwrap_or(0);
    let is_exact = call.query.get("resourceVersionMatch") == "Exact";
    if position.is_some() && (asked != 0 || is_exact) {
        let why = "specifying resource version is not allowed when using continue";
        return Err(Status::bad_request(why));
    }
    let wanted = position.map_or(asked, |position| position.revision);
    if wanted > latest {
        let why = format!("Timeout: Too large resource version: {wanted}, current: {latest}");
        return Err(Status::new(504, "Timeout", why));
    }
    if position.is_none() && !is_exact {
        return Ok((latest, objects));
    }
    let earlier = cluster.store.list_at(resource, scope, wanted);
    let earlier = earlier.map_err(|Forgotten { oldest }| match position {
        Some(_) => Status::expired_continue(),
        None => Status::expired(wanted, oldest),
    })?;
    Ok((wanted, earlier))
}
