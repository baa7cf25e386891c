//! Server-side apply: a configuration is merged into the object, what its manager no longer says is
//! taken out, and what another manager says otherwise is a conflict.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Author, Entry, Extent, Path, entries, fields_of, identity, now, position, store};
use crate::api::{
    object::Object as _,
    schema::{self, List},
    status::Status,
};

/// `live` (null if there is none yet) after `author` applied `config`, with its `managedFields`.
/// Conflicts are refused, or won if `force` is set.
pub(crate) fn apply(
    kind: &str,
    live: &Value,
    config: &Value,
    author: Author<'_>,
    force: bool,
) -> Result<Value, Status> {
    let wanted = fields_of(kind, config, Extent::Apply, author);
    let current = fields_of(kind, live, Extent::Update, author);
    let mut entries = entries(live);
    let own = position(&mut entries, author, "Apply");
    let mut conflicts = Vec::new();
    for (index, entry) in entries
        .iter_mut()
        .enumerate()
        .filter(|(index, _)| *index != own)
    {
        let contested = contested(&wanted, &current, &entry.fields);
        if !force {
            let printed = printed(entry);
            conflicts.extend(
                contested
                    .iter()
                    .map(|path| (index, printed.clone(), dotted(path))),
            );
        }
        entry.fields.retain(|path| !contested.contains(path));
    }
    if !conflicts.is_empty() {
        let conflicts: Vec<_> = conflicts
            .into_iter()
            .map(|(_, manager, field)| (manager, field))
            .collect();
        return Err(Status::apply_conflict(&conflicts));
    }
    let mut merged = live.clone();
    merge_field(kind, "", &mut merged, config);
    let kept: BTreeSet<Path> = wanted.into_keys().collect();
    let dropped: Vec<Path> = entries[own].fields.difference(&kept).cloned().collect();
    let mut removed: Vec<&Path> = Vec::new();
    for path in &dropped {
        let is_below = removed.iter().any(|above| path.starts_with(above));
        let still_owned = entries.iter().enumerate().any(|(index, entry)| {
            index != own && entry.fields.iter().any(|other| other.starts_with(path))
        });
        let still_wanted = kept.iter().any(|other| other.starts_with(path));
        if !is_below && !still_owned && !still_wanted && !is_key(path) {
            remove(kind, &mut merged, path);
            removed.push(path);
        }
    }
    if entries[own].fields != kept {
        entries[own].head.insert("time".into(), now().into());
    }
    entries[own].fields = kept;
    store(&mut merged, entries);
    Ok(merged)
}

/// The fields that the other manager owns and that would change.
fn contested(
    wanted: &BTreeMap<Path, Value>,
    current: &BTreeMap<Path, Value>,
    owned: &BTreeSet<Path>,
) -> BTreeSet<Path> {
    wanted
        .iter()
        .filter(|(path, value)| !value.is_null() && current.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .filter(|path| owned.contains(path))
        .collect()
}

fn merge_field(kind: &str, name: &str, live: &mut Value, config: &Value) {
    match config {
        Value::Object(map) if !schema::is_atomic_map(name) => {
            if !live.is_object() {
                *live = serde_json::json!({});
            }
            for (key, value) in map {
                merge_field(kind, key, &mut live[key.as_str()], value);
            }
        }
        Value::Array(items) if schema::list(kind, name) != List::Atomic => {
            let mut list = match live.take() {
                Value::Array(list) => list,
                _ => Vec::new(),
            };
            for item in items {
                let wanted = identity(kind, name, item);
                match list
                    .iter_mut()
                    .find(|one| identity(kind, name, one) == wanted)
                {
                    Some(found) if item.is_object() => merge_field(kind, "", found, item),
                    Some(_) => {}
                    None => list.push(item.clone()),
                }
            }
            *live = Value::Array(list);
        }
        other => *live = other.clone(),
    }
}

fn remove(kind: &str, object: &mut Value, path: &[String]) {
    let Some((last, above)) = path.split_last() else {
        return;
    };
    let mut at = object;
    let mut list = "";
    for step in above {
        let next = if let Some(field) = step.strip_prefix("f:") {
            list = field;
            at.get_mut(field)
        } else {
            let items = at.as_array_mut();
            items.and_then(|items| {
                items
                    .iter_mut()
                    .find(|item| identity(kind, list, item) == *step)
            })
        };
        let Some(next) = next else { return };
        at = next;
    }
    match (last.strip_prefix("f:"), at) {
        (Some(field), Value::Object(map)) => {
            map.remove(field);
        }
        (None, Value::Array(items)) => items.retain(|item| identity(kind, list, item) != *last),
        _ => {}
    }
}

/// Whether the field is what an item of a list is told apart by: it stays as long as the item.
fn is_key(path: &[String]) -> bool {
    let [.., item, field] = path else {
        return false;
    };
    let keys = item
        .strip_prefix("k:")
        .and_then(|keys| serde_json::from_str::<Value>(keys).ok());
    let field = field.strip_prefix("f:").unwrap_or_default();
    keys.is_some_and(|keys| keys.get(field).is_some())
}

/// A manager as the refusal names it.
fn printed(entry: &Entry) -> String {
    let head = Value::Object(entry.head.clone());
    let mut printed = format!("\"{}\"", head.text("/manager"));
    if !head.text("/subresource").is_empty() {
        printed += &format!(" with subresource \"{}\"", head.text("/subresource"));
    }
    if head.text("/operation") == "Update" {
        printed += &format!(
            " using {} at {}",
            head.text("/apiVersion"),
            head.text("/time")
        );
    }
    printed
}

/// A path as the refusal prints it: `.spec.containers[name="app"].image`.
fn dotted(path: &[String]) -> String {
    let steps = path.iter().map(|step| match step.split_once(':') {
        Some(("f", field)) => format!(".{field}"),
        Some(("k", keys)) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("[{}]", keys.join(","))
        }
        Some((_, value)) => format!("[={value}]"),
        None => String::new(),
    });
    steps.collect()
}
