use serde_json::json;

use super::*;
use crate::api::resources;

fn selects(selector: &str, labels: &Value) -> bool {
    LabelSelector::parse(selector)
        .expect("the selector is well-formed")
        .matches_labels(labels)
}

#[test]
fn refuses_selectors_it_cannot_read() {
    for bad in ["a=b=,=c", "a in b)", "a within (b)", "a b", "!"] {
        assert!(LabelSelector::parse(bad).is_err(), "{bad}");
    }
    let pods = resources::core("pods");
    for bad in ["metadata.name", "spec.image=x"] {
        let refused = FieldSelector::parse(pods, bad).expect_err(bad);
        assert_eq!(refused.code, 400);
    }
}

#[test]
fn label_selectors_select_as_documented() {
    let labels = json!({"app": "web", "tier": "front"});
    for yes in [
        "",
        "app=web",
        "app==web",
        "app!=db",
        "app in (db, web)",
        "app notin (db),tier",
        "!canary",
        "canary!=true",
        "canary notin (true)",
        "app in (web),!x",
    ] {
        assert!(selects(yes, &labels), "{yes}");
    }
    for no in [
        "app=db",
        "app!=web",
        "app in (db)",
        "app notin (web)",
        "!app",
        "canary",
    ] {
        assert!(!selects(no, &labels), "{no}");
    }
}

#[test]
fn selector_objects_select_as_documented() {
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
        {"key": "tier", "operator": "NotIn", "values": ["back"]},
        {"key": "app", "operator": "Exists"},
        {"key": "off", "operator": "DoesNotExist"}]});
    let selector = LabelSelector::from_object(&selector);
    assert!(selector.matches(&json!({"metadata": {"labels": {"app": "web"}}})));
    assert!(!selector.matches(&json!({"metadata": {"labels": {"app": "web", "off": ""}}})));
    assert!(!selector.matches(&json!({"metadata": {}})));
}

#[test]
fn field_selectors_read_the_fields_of_the_kind() {
    let pods = resources::core("pods");
    let selector =
        FieldSelector::parse(pods, "spec.nodeName=a,status.phase!=Failed").expect("known fields");
    assert!(selector.matches(&json!({"spec": {"nodeName": "a"}, "status": {"phase": "Running"}})));
    assert!(!selector.matches(&json!({"spec": {}, "status": {"phase": "Running"}})));
    let unbound = FieldSelector::parse(pods, "spec.nodeName=").expect("empty means unset");
    assert!(unbound.matches(&json!({"spec": {}})));
}
