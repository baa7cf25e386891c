use serde_json::json;

use super::*;

fn action<'a>(verb: &'a str, resource: &'a str, namespace: &'a str, name: &'a str) -> Action<'a> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Action {
        verb,
        group: "",
        resource,
        subresource,
        namespace,
        name,
    }
}

fn robot() -> User {
    User {
        name: "system:serviceaccount:shop:robot".into(),
        groups: vec!["system:serviceaccounts".into()],
        ..User::default()
    }
}

fn store_with(rule: Value, binding: &str) -> Store {
    let store = Store::new(8);
    let (role, kind, namespace) = match binding {
        "clusterrolebindings" => ("clusterroles", "ClusterRole", ""),
        _ => ("roles", "Role", "shop"),
    };
    let meta = json!({"name": "r", "namespace": namespace});
    store
        .create(
            &Key::new(rbac(role), namespace, "r"),
            json!({"metadata": meta, "rules": [rule]}),
        )
        .expect("new");
    let subjects = json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "shop"}]);
    let bound =
        json!({"metadata": meta, "subjects": subjects, "roleRef": {"kind": kind, "name": "r"}});
    store
        .create(&Key::new(rbac(binding), namespace, "r"), bound)
        .expect("new");
    store
}

#[test]
fn denies_what_no_role_says() {
    let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]});
    let store = store_with(rule, "rolebindings");
    for (verb, resource, namespace) in [
        ("delete", "pods", "shop"),
        ("get", "pods/log", "shop"),
        ("get", "secrets", "shop"),
        ("get", "pods", "other"),
        ("list", "pods", ""),
    ] {
        assert!(
            !allows(&store, &robot(), action(verb, resource, namespace, "")),
            "{verb} {resource} {namespace}"
        );
    }
    assert!(allows(&store, &robot(), action("get", "pods", "shop", "x")));
    assert!(!allows(
        &store,
        &User::default(),
        action("get", "pods", "shop", "x")
    ));
}

#[test]
fn names_subresources_and_wildcards_are_honoured() {
    let named = json!({"apiGroups": ["*"], "resources": ["secrets"], "resourceNames": ["ca"], "verbs": ["*"]});
    let store = store_with(named, "clusterrolebindings");
    assert!(allows(
        &store,
        &robot(),
        action("update", "secrets", "any", "ca")
    ));
    assert!(!allows(
        &store,
        &robot(),
        action("update", "secrets", "any", "other")
    ));
    assert!(!allows(
        &store,
        &robot(),
        action("create", "secrets", "any", "")
    ));
    let store = store_with(
        json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}),
        "rolebindings",
    );
    assert!(allows(
        &store,
        &robot(),
        action("get", "pods/log", "shop", "x")
    ));
    assert!(!allows(
        &store,
        &robot(),
        action("get", "pods", "shop", "x")
    ));
}

#[test]
fn masters_may_everything() {
    let store = Store::new(8);
    assert!(allows(
        &store,
        &User::new("admin", &[super::super::MASTERS]),
        action("delete", "nodes", "", "")
    ));
}
