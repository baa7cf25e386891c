//! Which objects have pods in them, and where.

use std::fmt;

use serde_json::Value;

use crate::pod::Named;

/// A workload, as people name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// `Deployment`.
    pub kind: String,
    /// Its namespace, if it says so.
    pub namespace: Option<String>,
    /// Its name, or what that is to begin with; empty if it has neither.
    pub name: String,
    /// Whether it has a name already.
    is_named: bool,
}

impl Object {
    /// What will be the controller of the pods, or stand behind that; nothing if the object
    /// is a pod itself, or is yet to be named.
    pub(super) fn controller(&self) -> Option<Named<'_>> {
        (self.is_named && self.kind != "Pod").then_some(Named {
            kind: &self.kind,
            name: &self.name,
        })
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// Kinds, their API groups, and the JSON pointer of their pod. A custom resource may
/// have the name of a kind, but not its group.
const KINDS: [(&str, &[&str], &str); 8] = [
    ("Pod", &[""], ""),
    ("ReplicationController", &[""], "/spec/template"),
    ("Deployment", &["apps", "extensions"], "/spec/template"),
    ("ReplicaSet", &["apps", "extensions"], "/spec/template"),
    ("DaemonSet", &["apps", "extensions"], "/spec/template"),
    ("StatefulSet", &["apps"], "/spec/template"),
    ("Job", &["batch"], "/spec/template"),
    ("CronJob", &["batch"], "/spec/jobTemplate/spec/template"),
];

/// Whether a document says what it is, as every object of Kubernetes does.
pub(super) fn is_object(document: &Value) -> bool {
    let says = |field: &str| document.get(field).is_some_and(Value::is_string);
    says("kind") && says("apiVersion")
}

/// Calls back with each workload of a document and its pod, or pod template. A
/// workload without one is passed over: the API server would refuse it.
pub(super) fn visit(document: &mut Value, found: &mut impl FnMut(Object, &mut Value)) {
    let text = |pointer: &str| {
        let text = document.pointer(pointer)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    let kind = text("/kind").unwrap_or_default();
    let api_version = text("/apiVersion").unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if kind == "List" && group.is_empty() {
        let items = document.get_mut("items").and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            visit(item, found);
        }
        return;
    }
    let known = KINDS
        .iter()
        .find(|(known, groups, _)| *known == kind && groups.contains(&group));
    let Some((_, _, pointer)) = known else {
        return;
    };
    let named = text("/metadata/name");
    let is_named = named.is_some();
    let name = named.or_else(|| text("/metadata/generateName"));
    let object = Object {
        kind,
        namespace: text("/metadata/namespace"),
        name: name.unwrap_or_default(),
        is_named,
    };
    if let Some(pod) = document.pointer_mut(pointer) {
        found(object, pod);
    }
}
