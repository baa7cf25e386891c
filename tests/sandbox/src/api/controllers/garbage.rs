//! What lost its owner or its namespace goes, and a namespace goes once it is empty.
//! <https://kubernetes.io/docs/concepts/architecture/garbage-collection/>

use serde_json::Value;

use crate::api::{
    insider::Insider,
    object::Object as _,
    resources::{self, RESOURCES, Resource},
    status::Status,
    store::Key,
};

/// Removes the object if nothing needs it any more.
pub(super) fn look(insider: &Insider, object: &Value) -> Result<(), Status> {
    let kind = resources::of_kind(object.text("/apiVersion"), object.text("/kind"))
        .expect("what is stored is of a kind in the table");
    if kind.id() == ("", "namespaces") {
        return namespace(insider, kind, object);
    }
    let owners = object.items("/metadata/ownerReferences");
    if owners.is_empty() || owners.iter().any(|owner| exists(insider, object, owner)) {
        return Ok(());
    }
    insider.delete(kind, object)
}

fn exists(insider: &Insider, object: &Value, owner: &Value) -> bool {
    let kind = resources::of_kind(owner.text("/apiVersion"), owner.text("/kind"));
    // Of a kind that isn't served, nobody can tell.
    let Some(kind) = kind else { return true };
    let namespace = if kind.namespaced {
        object.namespace()
    } else {
        ""
    };
    let found = insider
        .cluster
        .store
        .get(&Key::new(kind, namespace, owner.text("/name")));
    found.is_some_and(|found| found.uid() == owner.text("/uid"))
}

/// Empties a namespace that is to go, then lets it go.
fn namespace(insider: &Insider, kind: &'static Resource, object: &Value) -> Result<(), Status> {
    if !object.is_terminating() {
        return Ok(());
    }
    let mut is_empty = true;
    for inside in RESOURCES.iter().filter(|one| one.namespaced) {
        for left in insider.list(inside, Some(object.name())) {
            is_empty = false;
            insider.delete(inside, &left)?;
        }
    }
    // Those of `spec` are this controller's own.
    if is_empty && object.items("/metadata/finalizers").is_empty() {
        // Somebody who changed it in between makes this be looked at again.
        let _ = insider
            .cluster
            .store
            .remove(&Key::of(kind, object), object.revision());
    }
    Ok(())
}
