//! Strategic merge patch: a merge patch that knows how lists merge, with directives.
//! <https://github.com/kubernetes/design-proposals-archive/blob/main/cli/preserve-order-in-strategic-merge-patch.md>

use serde_json::{Map, Value};

use crate::api::{
    schema::{self, List},
    status::Status,
};

const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Merges `patch` into `object`, which is (part of) an object of `kind`.
pub(super) fn merge(kind: &str, object: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        return Err(Status::bad_request(
            "a strategic merge patch must be an object",
        ));
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *object = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            *object = Value::Object(Map::new());
            return Ok(());
        }
        None | Some("merge") => {}
        Some(other) => {
            return Err(Status::bad_request(format!(
                "unknown patch directive \"{other}\", expected replace, delete or merge"
            )));
        }
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let fields = object.as_object_mut().expect("it was just made an object");
    if let Some(Value::Array(kept)) = patch.get("$retainKeys") {
        fields.retain(|key, _| kept.iter().any(|one| one == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM_LIST) {
            if let (Some(Value::Array(list)), Value::Array(gone)) = (fields.get_mut(list), value) {
                list.retain(|item| !gone.contains(item));
            }
        } else if !key.starts_with('$') {
            merge_field(kind, fields, key, value)?;
        }
    }
    for (key, order) in patch {
        if let (Some(field), Value::Array(order)) = (key.strip_prefix(SET_ORDER), order)
            && let Some(Value::Array(list)) = fields.get_mut(field)
        {
            sort(list, order, merge_key(kind, field));
        }
    }
    Ok(())
}

fn merge_field(
    kind: &str,
    fields: &mut Map<String, Value>,
    key: &str,
    value: &Value,
) -> Result<(), Status> {
    match value {
        Value::Null => {
            fields.remove(key);
        }
        Value::Object(patch) if patch.get("$patch").is_some_and(|how| how == "delete") => {
            fields.remove(key);
        }
        Value::Object(_) => {
            let at = fields.entry(key).or_insert(Value::Null);
            merge(kind, at, value)?;
        }
        Value::Array(patches) => {
            let at = fields.entry(key).or_insert(Value::Null);
            merge_list(kind, key, at, patches)?;
        }
        scalar => {
            fields.insert(key.to_owned(), scalar.clone());
        }
    }
    Ok(())
}

fn merge_list(kind: &str, field: &str, at: &mut Value, patches: &[Value]) -> Result<(), Status> {
    let replaces = patches.iter().any(|patch| patch["$patch"] == "replace");
    let mut list = match at.take() {
        Value::Array(list) if !replaces => list,
        _ => Vec::new(),
    };
    match schema::list(kind, field) {
        List::Atomic => list = patches.to_vec(),
        List::Set => {
            for patch in patches {
                if !list.contains(patch) {
                    list.push(patch.clone());
                }
            }
        }
        List::Map(keys) => {
            for patch in patches {
                merge_item(kind, keys[0], &mut list, patch)?;
            }
        }
    }
    *at = Value::Array(list);
    Ok(())
}

fn merge_item(kind: &str, key: &str, list: &mut Vec<Value>, patch: &Value) -> Result<(), Status> {
    if patch["$patch"] == "replace" {
        let only_the_directive = patch.as_object().is_some_and(|fields| fields.len() == 1);
        if !only_the_directive {
            list.push(patch.as_object().map_or(Value::Null, without_directives));
        }
        return Ok(());
    }
    let Some(wanted) = patch.get(key) else {
        return Err(Status::bad_request(format!(
            "map: {patch} does not contain declared merge key: {key}"
        )));
    };
    let found = list.iter().position(|item| item.get(key) == Some(wanted));
    if patch["$patch"] == "delete" {
        if let Some(index) = found {
            list.remove(index);
        }
        return Ok(());
    }
    let index = found.unwrap_or_else(|| {
        list.push(Value::Null);
        list.len() - 1
    });
    merge(kind, &mut list[index], patch)
}

fn merge_key(kind: &str, field: &str) -> Option<&'static str> {
    match schema::list(kind, field) {
        List::Map(keys) => Some(keys[0]),
        List::Set | List::Atomic => None,
    }
}

/// Puts the items that `order` names into its order; the others keep their place before them.
fn sort(list: &mut [Value], order: &[Value], key: Option<&str>) {
    let rank = |item: &Value| {
        let identity = key.map_or(Some(item), |key| item.get(key));
        order
            .iter()
            .position(|one| key.map_or(Some(one), |key| one.get(key)) == identity)
    };
    list.sort_by_key(|item| rank(item).map_or(0, |rank| rank + 1));
}

fn without_directives(patch: &Map<String, Value>) -> Value {
    let fields = patch.iter().filter(|(key, _)| !key.starts_with('$'));
    Value::Object(
        fields
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

#[cfg(test)]
mod tests;
