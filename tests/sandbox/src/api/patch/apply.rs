//! Server-side apply, the simple part of it: a configuration is merged into the object, what its
//! manager no longer says is taken out, and what another manager applied otherwise is a conflict.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>
//!
//! `metadata.managedFields` holds what was applied, and nothing else: fields that came by another way
//! belong to nobody here, so that applying over them is no conflict.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::api::{
    object::{Object as _, now},
    schema::{self, List},
    status::Status,
};

/// The way to a field in the format `FieldsV1`: `f:<name>`, `k:<keys as JSON>` or `v:<value as JSON>`
/// for each step.
type Path = Vec<String>;

/// `live` (null if there is none yet) after `manager` applied `config`.
/// Conflicts are refused, or won if `force` is set.
pub(crate) fn apply(
    kind: &str,
    live: &Value,
    config: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, Status> {
    let (mut wanted, mut current) = (BTreeMap::new(), BTreeMap::new());
    fields(kind, "", config, &mut Path::new(), &mut wanted);
    fields(kind, "", live, &mut Path::new(), &mut current);
    let mut entries = entries(live);
    let before = entries.remove(manager).unwrap_or_default();
    for (other, owned) in &mut entries {
        let contested =
            |path: &Path| wanted.contains_key(path) && wanted.get(path) != current.get(path);
        if let Some(path) = owned.iter().find(|path| contested(path)).filter(|_| !force) {
            return Err(Status::apply_conflict(other, &dotted(path)));
        }
        owned.retain(|path| !contested(path));
    }
    let mut merged = live.clone();
    merge(kind, "", &mut merged, config);
    let kept: BTreeSet<Path> = wanted.into_keys().collect();
    for path in before.difference(&kept) {
        let still_owned = entries
            .values()
            .any(|owned| owned.iter().any(|one| one.starts_with(path)));
        if !still_owned && !kept.iter().any(|one| one.starts_with(path)) {
            remove(kind, &mut merged, path);
        }
    }
    entries.insert(manager.to_owned(), kept);
    let version = config.text("/apiVersion");
    let entries = entries
        .iter()
        .filter(|(_, owned)| !owned.is_empty())
        .map(|(manager, owned)| {
            let fields = encode(owned);
            let mut before = live.items("/metadata/managedFields").iter();
            let same = before.find(|one| one["manager"] == **manager && one["fieldsV1"] == fields);
            same.cloned().unwrap_or_else(|| {
            json!({"manager": manager, "operation": "Apply", "apiVersion": version, "time": now(),
                "fieldsType": "FieldsV1", "fieldsV1": fields})
        })
        });
    merged.set("/metadata/managedFields", entries.collect::<Vec<_>>());
    Ok(merged)
}

/// What each manager applied.
fn entries(object: &Value) -> BTreeMap<String, BTreeSet<Path>> {
    let entries = object.items("/metadata/managedFields").iter();
    let entries = entries.map(|entry| {
        let mut owned = BTreeSet::new();
        decode(&entry["fieldsV1"], &mut Path::new(), &mut owned);
        (entry.text("/manager").to_owned(), owned)
    });
    entries.collect()
}

/// Every field below `value` that has none of its own, with its value.
fn fields(
    kind: &str,
    name: &str,
    value: &Value,
    path: &mut Path,
    found: &mut BTreeMap<Path, Value>,
) {
    const SYSTEM: &[&str] = &[
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "resourceVersion",
        "managedFields",
    ];
    match value {
        Value::Object(map) if !map.is_empty() && !schema::is_atomic_map(name) => {
            let in_metadata = *path == ["f:metadata"];
            let is_own = |key: &str| match path.len() {
                0 => !["apiVersion", "kind", "status"].contains(&key),
                _ => !in_metadata || !SYSTEM.contains(&key),
            };
            let own: Vec<&String> = map.keys().filter(|key| is_own(key)).collect();
            for key in own {
                path.push(format!("f:{key}"));
                fields(kind, key, &map[key], path, found);
                path.pop();
            }
        }
        Value::Array(items) if !items.is_empty() && schema::list(kind, name) != List::Atomic => {
            for item in items {
                path.push(identity(kind, name, item));
                fields(kind, "", item, path, found);
                path.pop();
            }
        }
        leaf => drop(found.insert(path.clone(), leaf.clone())),
    }
}

/// How an item of a list is told apart, as a step of a path.
fn identity(kind: &str, list: &str, item: &Value) -> String {
    let List::Map(keys) = schema::list(kind, list) else {
        return format!("v:{item}");
    };
    let keys = keys.iter().filter_map(|key| {
        let default = (*key == "protocol").then(|| Value::from("TCP"));
        Some(((*key).to_owned(), item.get(*key).cloned().or(default)?))
    });
    format!("k:{}", Value::Object(keys.collect()))
}

fn merge(kind: &str, name: &str, live: &mut Value, config: &Value) {
    match config {
        Value::Object(map) if !schema::is_atomic_map(name) => {
            if !live.is_object() {
                *live = json!({});
            }
            for (key, value) in map {
                merge(kind, key, &mut live[key.as_str()], value);
            }
        }
        Value::Array(items) if schema::list(kind, name) != List::Atomic => {
            for item in items {
                let wanted = identity(kind, name, item);
                match live
                    .each("")
                    .iter_mut()
                    .find(|one| identity(kind, name, one) == wanted)
                {
                    Some(found) => merge(kind, "", found, item),
                    None => live.push("", item.clone()),
                }
            }
        }
        other => *live = other.clone(),
    }
}

/// Takes out the field at `path`, and the item of a list that it leaves with nothing but its keys.
fn remove(kind: &str, object: &mut Value, path: &[String]) {
    let (mut at, mut list) = (object, "");
    for (index, step) in path.iter().enumerate() {
        let is_last = index + 1 == path.len();
        match (step.strip_prefix("f:"), at) {
            (Some(field), Value::Object(map)) if is_last => drop(map.remove(field)),
            (None, Value::Array(items)) => {
                let Some(position) = items
                    .iter()
                    .position(|one| identity(kind, list, one) == *step)
                else {
                    return;
                };
                let is_key = path[index + 1..].len() == 1
                    && step.contains(&format!("\"{}\"", &path[index + 1][2..]));
                if is_last || is_key {
                    items.remove(position);
                    return;
                }
                at = &mut items[position];
                continue;
            }
            (Some(field), Value::Object(map)) => {
                let Some(next) = map.get_mut(field) else {
                    return;
                };
                (at, list) = (next, field);
                continue;
            }
            _ => {}
        }
        return;
    }
}

fn encode(paths: &BTreeSet<Path>) -> Value {
    let mut root = json!({});
    for path in paths {
        let mut at = &mut root;
        for step in path {
            let map = at
                .as_object_mut()
                .expect("every node of the tree is an object");
            at = map.entry(step).or_insert_with(|| Value::Object(Map::new()));
        }
    }
    root
}

fn decode(node: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    let Some(map) = node.as_object().filter(|map| !map.is_empty()) else {
        found.insert(path.clone());
        return;
    };
    for (step, below) in map {
        path.push(step.clone());
        decode(below, path, found);
        path.pop();
    }
}

/// A path as the refusal prints it: `.spec.containers[name="app"].image`.
fn dotted(path: &[String]) -> String {
    let steps = path.iter().map(|step| match step.split_once(':') {
        Some(("f", field)) => format!(".{field}"),
        Some(("k", keys)) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys = keys.iter().map(|(key, value)| format!("{key}={value}"));
            format!("[{}]", keys.collect::<Vec<_>>().join(","))
        }
        Some((_, value)) => format!("[={value}]"),
        None => String::new(),
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(live: &Value, spec: Value, manager: &str, force: bool) -> Result<Value, String> {
        let config = json!({"spec": spec});
        apply("Pod", live, &config, manager, force).map_err(|status| status.message)
    }

    #[test]
    fn refuses_to_take_a_field_from_another_manager_but_by_force() {
        let live = applied(&Value::Null, json!({"hostname": "a"}), "one", false).expect("nobody's");
        let refused = applied(&live, json!({"hostname": "b"}), "two", false);
        let why = "Apply failed with 1 conflict: conflict with \"one\": .spec.hostname";
        assert_eq!(refused.err().as_deref(), Some(why));
        let taken = applied(&live, json!({"hostname": "b"}), "two", true).expect("forced");
        assert_eq!(taken["spec"]["hostname"], "b");
        let managers = taken
            .items("/metadata/managedFields")
            .iter()
            .map(|entry| entry.text("/manager"));
        assert_eq!(managers.collect::<Vec<_>>(), ["two"]);
    }

    #[test]
    fn a_shared_value_outlives_one_of_its_owners() {
        let live = applied(&Value::Null, json!({"hostname": "a"}), "one", false).expect("nobody's");
        let both = applied(&live, json!({"hostname": "a"}), "two", false).expect("no conflict");
        let left = applied(&both, json!({"subdomain": "s"}), "two", false).expect("no conflict");
        assert_eq!(left["spec"], json!({"hostname": "a", "subdomain": "s"}));
    }

    #[test]
    fn what_is_no_longer_applied_goes_and_what_others_wrote_stays() {
        let first = json!({"containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b", "args": ["x"]}]});
        let mut live = applied(&Value::Null, first, "one", false).expect("nobody's");
        live["spec"]["containers"][1]["tty"] = true.into();
        let second = json!({"containers": [{"name": "b", "image": "c"}]});
        let left = applied(&live, second, "one", false).expect("its own");
        assert_eq!(
            left["spec"],
            json!({"containers": [{"name": "b", "image": "c", "tty": true}]})
        );
    }
}
