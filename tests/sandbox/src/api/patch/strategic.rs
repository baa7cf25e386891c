//! Strategic merge patch: a merge patch that knows which lists merge, and by what. Of its directives,
//! `$patch` (`replace`, `delete`, `merge`) is known; those for the order of lists are ignored.
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>

use serde_json::{Map, Value};

use crate::api::{
    schema::{self, List},
    status::Status,
};

/// Merges `patch` into `object`, which is (part of) an object of `kind`.
pub(super) fn merge(kind: &str, object: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        let why = "a strategic merge patch must be an object";
        return Err(Status::bad_request(why));
    };
    let directive = patch.get("$patch").and_then(Value::as_str);
    if !matches!(directive, None | Some("replace" | "delete" | "merge")) {
        let why =
            format!("unknown patch directive {directive:?}, expected replace, delete or merge");
        return Err(Status::bad_request(why));
    }
    if !object.is_object() || matches!(directive, Some("replace" | "delete")) {
        *object = Value::Object(Map::new());
    }
    if directive == Some("delete") {
        return Ok(());
    }
    let fields = object.as_object_mut().expect("it was just made an object");
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        match value {
            Value::Null => drop(fields.remove(key)),
            Value::Object(patch) if patch.get("$patch").is_some_and(|how| how == "delete") => {
                fields.remove(key);
            }
            Value::Object(_) => merge(kind, fields.entry(key).or_insert(Value::Null), value)?,
            Value::Array(patches) => {
                let list = fields.entry(key).or_insert(Value::Null);
                *list = merged_list(kind, key, list.take(), patches)?.into();
            }
            scalar => drop(fields.insert(key.clone(), scalar.clone())),
        }
    }
    Ok(())
}

fn merged_list(
    kind: &str,
    field: &str,
    before: Value,
    patches: &[Value],
) -> Result<Vec<Value>, Status> {
    let replaces = patches.iter().any(|patch| patch["$patch"] == "replace");
    let mut list = match before {
        Value::Array(list) if !replaces => list,
        _ => Vec::new(),
    };
    let is_marker = |patch: &&Value| {
        patch["$patch"] == "replace" && patch.as_object().is_some_and(|it| it.len() == 1)
    };
    for patch in patches.iter().filter(|patch| !is_marker(patch)) {
        match schema::list(kind, field) {
            List::Atomic => return Ok(patches.to_vec()),
            List::Set if list.contains(patch) => {}
            List::Set => list.push(patch.clone()),
            List::Map(keys) => merge_item(kind, keys[0], &mut list, patch)?,
        }
    }
    Ok(list)
}

fn merge_item(kind: &str, key: &str, list: &mut Vec<Value>, patch: &Value) -> Result<(), Status> {
    let wanted = patch.get(key).ok_or_else(|| {
        Status::bad_request(format!(
            "map: {patch} does not contain declared merge key: {key}"
        ))
    })?;
    let found = list.iter().position(|item| item.get(key) == Some(wanted));
    if patch["$patch"] == "delete" {
        found.map(|index| list.remove(index));
        return Ok(());
    }
    let index = found.unwrap_or_else(|| {
        list.push(Value::Null);
        list.len() - 1
    });
    merge(kind, &mut list[index], patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(kind: &str, mut object: Value, patch: &Value) -> Value {
        merge(kind, &mut object, patch).expect("the patch applies");
        object
    }

    #[test]
    fn refuses_what_it_cannot_place() {
        for patch in [
            json!([]),
            json!({"$patch": "invert"}),
            json!({"containers": [{"image": "a"}]}),
        ] {
            let refused = merge("Pod", &mut json!({"containers": []}), &patch);
            assert!(refused.is_err(), "{patch}");
        }
    }

    #[test]
    fn merges_containers_by_name_and_env_by_name() {
        let pod = json!({"spec": {"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}});
        let patch = json!({"spec": {"containers": [
            {"name": "a", "args": ["1"], "env": [{"name": "Y", "value": "2"}]}, {"name": "c"}]}});
        let env = json!([{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]);
        let expected = json!({"spec": {"containers": [
            {"name": "a", "image": "a:1", "args": ["1"], "env": env}, {"name": "b"}, {"name": "c"}]}});
        assert_eq!(merged("Pod", pod, &patch), expected);
    }

    #[test]
    fn deletes_and_replaces_what_directives_name() {
        let pod = json!({"hostname": "h", "labels": {"a": "1"},
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]});
        let patch = json!({"hostname": null, "labels": {"$patch": "replace", "b": "2"},
            "volumes": [{"name": "v", "$patch": "delete"}]});
        let expected = json!({"labels": {"b": "2"}, "volumes": [{"name": "w", "emptyDir": {}}]});
        assert_eq!(merged("Pod", pod.clone(), &patch), expected);
        let patch = json!({"volumes": [{"$patch": "replace"}, {"name": "x"}]});
        assert_eq!(
            merged("Pod", pod, &patch)["volumes"],
            json!([{"name": "x"}])
        );
    }

    #[test]
    fn service_ports_merge_by_port_and_slices_do_not_merge() {
        let (before, patch) = (
            json!({"ports": [{"port": 80, "targetPort": 1}]}),
            json!({"ports": [{"port": 80, "name": "http"}]}),
        );
        let expected = json!({"ports": [{"port": 80, "targetPort": 1, "name": "http"}]});
        assert_eq!(merged("Service", before.clone(), &patch), expected);
        assert_eq!(merged("EndpointSlice", before, &patch), patch);
    }
}
