//! What is found, and what of it is removed.

use super::*;

fn everything() -> Vec<Value> {
    let settings = Settings::default();
    manifests::render(&settings, "netting", None).expect("they are right")
}

#[test]
fn what_is_removed_goes_in_the_order_in_which_it_is_needed() {
    // As they are found: by kind, in the order of the kinds.
    let rank = |object: &Value| {
        let mut kinds = kinds::ALL.iter().map(|kind| kind().resource.kind);
        kinds.position(|kind| object["kind"] == kind)
    };
    let mut found = everything();
    found.sort_by_key(rank);
    let installation = Installation::new("netting", found.clone());
    let removed = installation.to_remove();
    assert_eq!(removed.len(), found.len(), "nothing stays");
    let first = removed.first().map(|object| &object["kind"]);
    let last = removed.last().map(|object| &object["kind"]);
    assert_eq!(first, Some(&"MutatingWebhookConfiguration".into()));
    assert_eq!(last, Some(&"Namespace".into()));
}

#[test]
fn what_is_not_ours_stays() {
    let namespace =
        json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "netting"}});
    let other = json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {
        "name": "netting-webhook", "namespace": "mesh", "labels": {PART_OF.0: PART_OF.1}}});
    let installation = Installation::new("netting", vec![namespace, other]);
    assert!(installation.to_remove().is_empty());
}

#[test]
fn of_somebody_elses_namespace_only_the_note_is_ours() {
    let given = Settings {
        ha: Some(true),
        ..Settings::default()
    };
    let mut noted = everything();
    manifests::record(&given, &mut noted);
    let mut namespace =
        json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "netting"}});
    let guest = Installation::new("netting", vec![namespace.clone()]);
    assert!(guest.is_guest());
    assert_eq!(guest.adapted(everything()), everything()[1..]);
    let adapted = guest.adapted(noted.clone());
    assert_eq!(
        adapted[0],
        json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "netting",
            "annotations": {manifests::SETTINGS: "{\"ha\":true}"}}})
    );
    // A note of earlier settings is taken back.
    namespace["metadata"]["annotations"][manifests::SETTINGS] = "{\"ha\":true}".into();
    let guest = Installation::new("netting", vec![namespace]);
    let bare = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "netting"}});
    assert_eq!(guest.adapted(everything())[0], bare);

    let own = Installation::new("netting", everything());
    assert!(!own.is_guest());
    assert_eq!(own.adapted(noted.clone()), noted);
}

#[test]
fn what_is_noted_of_an_object_meanwhile_is_no_change_of_it() {
    let deployment = json!({"metadata": {"name": "netting-webhook", "resourceVersion": "7",
        "labels": {"app": "webhook"}}, "spec": {"replicas": 1}});
    let mut listed = deployment.clone();
    listed["kind"] = "Deployment".into();
    listed["metadata"]["resourceVersion"] = "9".into();
    listed["metadata"]["generation"] = 1.into();
    listed["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
    listed["status"] = json!({"replicas": 1, "unavailableReplicas": 1});
    assert_eq!(apply::content(&listed), apply::content(&deployment));

    for (field, value) in [
        ("/spec/replicas", json!(2)),
        ("/metadata/labels/app", json!("other")),
        ("/metadata/annotations", json!({"netting.dev/settings": ""})),
    ] {
        let mut changed = listed.clone();
        *changed.pointer_mut(field).expect("it is there") = value;
        assert_ne!(apply::content(&changed), apply::content(&listed), "{field}");
    }
}

#[test]
fn every_manifest_is_of_a_kind_that_is_found_again() {
    let settings = Settings {
        ha: Some(true),
        ..Settings::default()
    };
    for object in manifests::render(&settings, "mesh", None).expect("they are right") {
        let kind = kinds::Kind::find(&object);
        let kind = kind.unwrap_or_else(|| panic!("{} is known", manifests::title(&object)));
        let namespaced = object["metadata"]["namespace"].is_string();
        assert_eq!(kind.namespaced, namespaced, "{}", manifests::title(&object));
    }
}

#[test]
fn what_an_upgrade_leaves_over_is_what_it_had_applied_itself() {
    let settings = Settings {
        ha: Some(true),
        ..Settings::default()
    };
    let mut found = manifests::render(&settings, "netting", None).expect("they are right");
    found.push(json!({"kind": "Secret", "apiVersion": "v1", "metadata": {
        "name": "netting-webhook-tls", "namespace": "netting", "labels": {PART_OF.0: PART_OF.1}}}));
    let left = |found: &[Value]| -> Vec<String> {
        let installation = Installation::new("netting", found.to_vec());
        let left = installation.superfluous(&everything());
        left.into_iter().map(manifests::title).collect()
    };
    assert!(left(&found).is_empty(), "others have made it");
    for object in &mut found {
        if object["kind"] != "Secret" {
            let applied = json!([{"manager": "netting", "operation": "Apply"}]);
            object["metadata"]["managedFields"] = applied;
        }
    }
    assert_eq!(
        left(&found),
        [
            "PodDisruptionBudget netting/netting-catalog",
            "PodDisruptionBudget netting/netting-webhook"
        ]
    );
}

#[test]
fn what_is_missing_is_named() {
    let wanted = everything();
    let mut found = wanted.clone();
    found.remove(0);
    let installation = Installation::new("netting", found);
    assert_eq!(installation.missing(&wanted), ["Namespace netting"]);
}

#[test]
fn settings_of_a_newer_version_are_not_taken_for_none() {
    let mut namespace = json!({"kind": "Namespace", "metadata": {"name": "netting"}});
    let read = |namespace: &Value| {
        let installation = Installation::new("netting", vec![namespace.clone()]);
        installation.settings().map_err(|error| error.to_string())
    };
    assert_eq!(read(&namespace), Ok(Settings::default()));
    namespace["metadata"]["annotations"][manifests::SETTINGS] = "{\"ha\":true}".into();
    assert_eq!(read(&namespace).map(|settings| settings.ha), Ok(Some(true)));
    namespace["metadata"]["annotations"][manifests::SETTINGS] = "{\"quorum\":3}".into();
    let refused = read(&namespace).expect_err("this version has no such setting");
    assert!(refused.contains("quorum"), "{refused}");
}
