//! `metadata.managedFields`: which manager set which field, in the format `FieldsV1`.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

pub(crate) mod apply;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    object::{Object as _, now},
    schema::{self, List},
};

/// The way to a field: `f:<name>`, `k:<keys as JSON>` or `v:<value as JSON>` for each step.
type Path = Vec<String>;

/// Who writes: the manager, through which subresource ("" for the object itself), as which version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) api_version: &'a str,
    /// Whether status is only written through its own path.
    pub(crate) has_status: bool,
}

/// Which fields of an object count as set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Also the maps and lists that an update brought with it.
    Update,
    /// Only what the applied configuration says.
    Apply,
}

/// An entry of `managedFields`, decoded.
struct Entry {
    head: Map<String, Value>,
    fields: BTreeSet<Path>,
}

/// Notes in `new` that `author` made it of `old` (null for a new object).
pub(crate) fn record(kind: &str, old: &Value, new: &mut Value, author: Author<'_>) {
    let before = fields_of(kind, old, Extent::Update, author);
    let after = fields_of(kind, new, Extent::Update, author);
    let changed: BTreeSet<Path> = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .collect();
    let removed: BTreeSet<Path> = before
        .keys()
        .filter(|path| !after.contains_key(*path))
        .cloned()
        .collect();
    let mut entries = entries(old);
    let own = position(&mut entries, author, "Update");
    for (index, entry) in entries.iter_mut().enumerate() {
        let size = entry.fields.len();
        entry.fields.retain(|path| !removed.contains(path));
        if index == own {
            entry.fields.extend(changed.iter().cloned());
            if !changed.is_empty() || entry.fields.len() != size {
                entry.head.insert("time".into(), now().into());
            }
        } else {
            entry.fields.retain(|path| !changed.contains(path));
        }
    }
    store(new, entries);
}

fn position(entries: &mut Vec<Entry>, author: Author<'_>, operation: &str) -> usize {
    let found = entries.iter().position(|entry| {
        let is = |key: &str, value: &str| {
            entry.head.get(key).and_then(Value::as_str).unwrap_or("") == value
        };
        is("manager", author.manager)
            && is("operation", operation)
            && is("apiVersion", author.api_version)
            && is("subresource", author.subresource)
    });
    found.unwrap_or_else(|| {
        let mut head = json!({"manager": author.manager, "operation": operation,
            "apiVersion": author.api_version, "time": now(), "fieldsType": "FieldsV1"});
        if !author.subresource.is_empty() {
            head.set("/subresource", author.subresource);
        }
        let Value::Object(head) = head else {
            unreachable!("it was just made an object")
        };
        entries.push(Entry {
            head,
            fields: BTreeSet::new(),
        });
        entries.len() - 1
    })
}

fn entries(object: &Value) -> Vec<Entry> {
    let entries = object.items("/metadata/managedFields").iter();
    entries
        .filter_map(Value::as_object)
        .map(|entry| {
            let mut head = entry.clone();
            let mut fields = BTreeSet::new();
            decode(
                &head.remove("fieldsV1").unwrap_or_default(),
                &mut Vec::new(),
                &mut fields,
            );
            Entry { head, fields }
        })
        .collect()
}

fn store(object: &mut Value, entries: Vec<Entry>) {
    let entries: Vec<Value> = entries
        .into_iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(|mut entry| {
            entry.head.insert("fieldsV1".into(), encode(&entry.fields));
            Value::Object(entry.head)
        })
        .collect();
    if entries.is_empty() {
        object.take_out("/metadata/managedFields");
    } else {
        object.set("/metadata/managedFields", entries);
    }
}

/// Every field that is set in `object`, with its value where it has no fields of its own.
fn fields_of(
    kind: &str,
    object: &Value,
    extent: Extent,
    author: Author<'_>,
) -> BTreeMap<Path, Value> {
    const SYSTEM: &[&str] = &[
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "selfLink",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    let mut found = BTreeMap::new();
    let walk = Walk { kind, extent };
    for (key, value) in object.as_object().into_iter().flatten() {
        let skipped = match key.as_str() {
            "apiVersion" | "kind" => true,
            "status" => author.has_status && author.subresource != "status",
            _ => author.subresource == "status",
        };
        if skipped {
            continue;
        }
        let mut value = value.clone();
        if key == "metadata" {
            let metadata = value.as_object_mut();
            metadata
                .into_iter()
                .for_each(|map| map.retain(|key, _| !SYSTEM.contains(&key.as_str())));
            if value.as_object().is_none_or(Map::is_empty) {
                continue;
            }
        }
        walk.field(key, &value, &mut Vec::new(), &mut found);
    }
    found
}

struct Walk<'a> {
    kind: &'a str,
    extent: Extent,
}

impl Walk<'_> {
    fn field(&self, name: &str, value: &Value, path: &mut Path, found: &mut BTreeMap<Path, Value>) {
        path.push(format!("f:{name}"));
        let has_own_entry = self.extent == Extent::Update && !schema::is_always_there(name);
        match value {
            Value::Null => {}
            Value::Object(map) if map.is_empty() && schema::is_always_there(name) => {}
            Value::Object(map) if !map.is_empty() && !schema::is_atomic_map(name) => {
                if has_own_entry {
                    found.insert(path.clone(), Value::Null);
                }
                for (key, value) in map {
                    self.field(key, value, path, found);
                }
            }
            Value::Array(items)
                if !items.is_empty() && schema::list(self.kind, name) != List::Atomic =>
            {
                if has_own_entry {
                    found.insert(path.clone(), Value::Null);
                }
                for item in items {
                    self.item(name, item, path, found);
                }
            }
            leaf => {
                found.insert(path.clone(), leaf.clone());
            }
        }
        path.pop();
    }

    fn item(&self, list: &str, item: &Value, path: &mut Path, found: &mut BTreeMap<Path, Value>) {
        path.push(identity(self.kind, list, item));
        found.insert(path.clone(), Value::Null);
        for (key, value) in item.as_object().into_iter().flatten() {
            self.field(key, value, path, found);
        }
        path.pop();
    }
}

/// How an item of a list is told apart, as a step of a path.
fn identity(kind: &str, list: &str, item: &Value) -> String {
    let List::Map(keys) = schema::list(kind, list) else {
        return format!("v:{item}");
    };
    let keys: Map<String, Value> = keys
        .iter()
        .filter_map(|key| {
            let default = (*key == "protocol").then(|| Value::from("TCP"));
            let value = item.get(*key).cloned().or(default)?;
            Some(((*key).to_owned(), value))
        })
        .collect();
    format!("k:{}", Value::Object(keys))
}

fn encode(fields: &BTreeSet<Path>) -> Value {
    let mut root = Value::Object(Map::new());
    for path in fields {
        let mut at = &mut root;
        for step in path {
            let map = at
                .as_object_mut()
                .expect("every node of the tree is an object");
            at = map.entry(step).or_insert_with(|| Value::Object(Map::new()));
        }
        at["."] = json!({});
    }
    without_lone_dots(&mut root);
    root
}

/// A node with nothing below it is `{}`; only others need their `.`.
fn without_lone_dots(node: &mut Value) {
    let Value::Object(map) = node else { return };
    if map.len() == 1 {
        map.remove(".");
    }
    map.iter_mut()
        .filter(|(step, _)| *step != ".")
        .for_each(|(_, below)| without_lone_dots(below));
}

fn decode(node: &Value, path: &mut Path, fields: &mut BTreeSet<Path>) {
    let Value::Object(map) = node else { return };
    if (map.is_empty() && !path.is_empty()) || map.contains_key(".") {
        fields.insert(path.clone());
    }
    for (step, below) in map.iter().filter(|(step, _)| *step != ".") {
        path.push(step.clone());
        decode(below, path, fields);
        path.pop();
    }
}

#[cfg(test)]
mod tests;
