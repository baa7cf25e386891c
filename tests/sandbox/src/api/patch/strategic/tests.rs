use serde_json::json;

use super::*;

fn merged(kind: &str, mut object: Value, patch: &Value) -> Value {
    merge(kind, &mut object, patch).expect("the patch applies");
    object
}

#[test]
fn refuses_what_it_cannot_place() {
    for (patch, why) in [
        (json!([]), "not an object"),
        (json!({"$patch": "invert"}), "unknown directive"),
        (json!({"containers": [{"image": "a"}]}), "no merge key"),
    ] {
        let refused = merge("Pod", &mut json!({"containers": []}), &patch);
        assert!(refused.is_err(), "{why}");
    }
}

#[test]
fn merges_containers_by_name_and_env_by_name() {
    let pod = json!({"spec": {"containers": [
        {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}});
    let patch = json!({"spec": {"containers": [
        {"name": "a", "env": [{"name": "Y", "value": "2"}]}, {"name": "c"}]}});
    assert_eq!(
        merged("Pod", pod, &patch),
        json!({"spec": {"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b"}, {"name": "c"}]}})
    );
}

#[test]
fn deletes_items_and_fields_that_directives_name() {
    let pod = json!({"metadata": {"finalizers": ["x", "y"]}, "spec": {"hostname": "h",
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]},
        "spec": {"hostname": null, "volumes": [{"name": "v", "$patch": "delete"}]}});
    assert_eq!(
        merged("Pod", pod, &patch),
        json!({"metadata": {"finalizers": ["y"]}, "spec": {"volumes": [{"name": "w", "emptyDir": {}}]}})
    );
}

#[test]
fn replaces_what_is_marked_or_atomic() {
    let pod = json!({"spec": {"containers": [{"name": "a", "args": ["1", "2"], "ports": [{"containerPort": 1}]}]}});
    let patch = json!({"spec": {"containers": [
        {"name": "a", "args": ["3"], "ports": [{"$patch": "replace"}, {"containerPort": 2}]}]}});
    assert_eq!(
        merged("Pod", pod, &patch),
        json!({"spec": {"containers": [{"name": "a", "args": ["3"], "ports": [{"containerPort": 2}]}]}})
    );
    let labels = merged(
        "Pod",
        json!({"labels": {"a": "1"}}),
        &json!({"labels": {"$patch": "replace", "b": "2"}}),
    );
    assert_eq!(labels, json!({"labels": {"b": "2"}}));
}

#[test]
fn retains_keys_and_sets_the_order() {
    let volumes = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
    let patch = json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]});
    assert_eq!(
        merged("Pod", volumes, &patch),
        json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})
    );
    let containers = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let patch = json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]});
    assert_eq!(
        merged("Pod", containers, &patch),
        json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]})
    );
}

#[test]
fn service_ports_merge_by_port_and_slices_do_not_merge() {
    let service = json!({"ports": [{"port": 80, "targetPort": 1}]});
    let patch = json!({"ports": [{"port": 80, "name": "http"}]});
    assert_eq!(
        merged("Service", service, &patch),
        json!({"ports": [{"port": 80, "targetPort": 1, "name": "http"}]})
    );
    let slice = merged(
        "EndpointSlice",
        json!({"ports": [{"port": 1}]}),
        &json!({"ports": [{"port": 2}]}),
    );
    assert_eq!(slice, json!({"ports": [{"port": 2}]}));
}
