use serde_json::json;

use super::*;

fn author(manager: &str) -> Author<'_> {
    Author {
        manager,
        subresource: "",
        api_version: "v1",
        has_status: true,
    }
}

fn applied(live: &Value, config: &Value, manager: &str, force: bool) -> Result<Value, String> {
    apply::apply("Pod", live, config, author(manager), force).map_err(|status| status.message)
}

fn managers(object: &Value) -> Vec<(&str, &Value)> {
    let entries = object.items("/metadata/managedFields").iter();
    entries
        .map(|entry| (entry.text("/manager"), &entry["fieldsV1"]))
        .collect()
}

#[test]
fn refuses_to_take_a_field_from_another_manager() {
    let live = applied(
        &Value::Null,
        &json!({"spec": {"hostname": "a"}}),
        "one",
        false,
    )
    .expect("nobody's");
    let refused = applied(&live, &json!({"spec": {"hostname": "b"}}), "two", false);
    assert_eq!(
        refused.err().as_deref(),
        Some("Apply failed with 1 conflict: conflict with \"one\": .spec.hostname")
    );
}

#[test]
fn force_takes_the_field() {
    let live = applied(
        &Value::Null,
        &json!({"spec": {"hostname": "a"}}),
        "one",
        false,
    )
    .expect("nobody's");
    let taken = applied(&live, &json!({"spec": {"hostname": "b"}}), "two", true).expect("forced");
    assert_eq!(taken["spec"]["hostname"], "b");
    assert_eq!(
        managers(&taken),
        [("two", &json!({"f:spec": {"f:hostname": {}}}))]
    );
}

#[test]
fn the_same_value_is_shared_and_outlives_one_of_its_owners() {
    let config = json!({"spec": {"hostname": "a"}});
    let live = applied(&Value::Null, &config, "one", false).expect("nobody's");
    let both = applied(&live, &config, "two", false).expect("no conflict");
    let left =
        applied(&both, &json!({"spec": {"subdomain": "s"}}), "two", false).expect("no conflict");
    assert_eq!(left["spec"], json!({"hostname": "a", "subdomain": "s"}));
}

#[test]
fn what_is_no_longer_applied_goes_away_items_included() {
    let first =
        json!({"spec": {"containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}]}});
    let second = json!({"spec": {"containers": [{"name": "b", "image": "b"}]}});
    let live = applied(&Value::Null, &first, "one", false).expect("nobody's");
    let left = applied(&live, &second, "one", false).expect("its own");
    assert_eq!(left["spec"], second["spec"]);
}

#[test]
fn an_update_owns_what_it_changed_and_takes_it_from_others() {
    let mut object = json!({"metadata": {"name": "x"}, "data": {"a": "1", "b": "1"}});
    record("ConfigMap", &Value::Null, &mut object, author("curl"));
    assert_eq!(
        managers(&object),
        [("curl", &json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}}))]
    );
    let mut changed = object.clone();
    changed["data"] = json!({"a": "2", "c": "1"});
    record("ConfigMap", &object, &mut changed, author("other"));
    assert_eq!(
        managers(&changed),
        [
            ("curl", &json!({"f:data": {}})),
            ("other", &json!({"f:data": {"f:a": {}, "f:c": {}}}))
        ]
    );
}

#[test]
fn fields_survive_encoding() {
    let encoded = json!({"f:spec": {"f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}},
        "f:selector": {}}, "f:metadata": {"f:finalizers": {"v:\"x\"": {}}}});
    let mut fields = BTreeSet::new();
    decode(&encoded, &mut Vec::new(), &mut fields);
    assert_eq!(encode(&fields), encoded);
}
