//! What stands in the way of an installation.

use super::*;

fn cluster_settings(flags: Settings) -> (Settings, Vec<Value>) {
    let mut objects = manifests::render(&flags, "netting", None).expect("they are right");
    manifests::record(&flags, &mut objects);
    (flags, objects)
}

fn why(found: Vec<Value>, settings: &Settings, objects: &[Value]) -> Option<String> {
    obstacle(&Installation::new("netting", found), settings, objects)
}

#[test]
fn nothing_stands_in_the_way_of_the_first_and_of_the_same_again() {
    let (settings, objects) = cluster_settings(Settings::default());
    assert_eq!(why(Vec::new(), &settings, &objects), None);
    assert_eq!(why(objects.clone(), &settings, &objects), None);
}

#[test]
fn a_half_done_installation_is_finished_whatever_its_settings() {
    let (_, before) = cluster_settings(Settings {
        ha: Some(true),
        ..Settings::default()
    });
    let (settings, objects) = cluster_settings(Settings::default());
    for done in 0..before.len() - 3 {
        let found = before[..done].to_vec();
        assert_eq!(why(found, &settings, &objects), None, "after {done}");
    }
}

#[test]
fn other_settings_are_a_matter_of_upgrades() {
    let (settings, objects) = cluster_settings(Settings::default());
    let other = Settings {
        ha: Some(true),
        ..Settings::default()
    };
    let (_, found) = cluster_settings(other);
    let refused = why(found, &settings, &objects).expect("it is refused");
    assert!(refused.contains("netting upgrade"), "{refused}");
}

#[test]
fn another_version_is_a_matter_of_upgrades() {
    let (settings, objects) = cluster_settings(Settings::default());
    let mut found = objects.clone();
    for object in &mut found {
        if object["kind"] == "Deployment" {
            object["metadata"]["labels"]["app.kubernetes.io/version"] = "0.0.9".into();
        }
    }
    let refused = why(found, &settings, &objects).expect("it is refused");
    let says = "netting-catalog is there as version 0.0.9";
    assert!(refused.starts_with(says), "{refused}");
}

#[test]
fn a_second_installation_is_refused_by_the_name_of_the_first() {
    let (settings, objects) = cluster_settings(Settings::default());
    let elsewhere = manifests::render(&settings, "mesh", None).expect("they are right");
    for kind in [
        "MutatingWebhookConfiguration",
        "ClusterRoleBinding",
        "Deployment",
    ] {
        let mut found = elsewhere.clone();
        found.retain(|object| object["kind"] == kind);
        let refused = why(found, &settings, &objects).expect("it is refused");
        assert!(refused.contains("--system-namespace mesh"), "{refused}");
    }
}

#[test]
fn what_helm_keeps_is_left_to_helm() {
    let (settings, objects) = cluster_settings(Settings::default());
    let mut found = objects.clone();
    found[1]["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm".into();
    let refused = why(found, &settings, &objects).expect("it is refused");
    assert!(refused.contains("helm upgrade"), "{refused}");
}

#[test]
fn a_namespace_on_its_way_out_says_what_holds_it() {
    let (settings, objects) = cluster_settings(Settings::default());
    let mut namespace = objects[0].clone();
    namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    namespace["status"] = serde_json::json!({"conditions": [
        {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "all is found"},
        {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "widgets remain"},
    ]});
    let refused = why(vec![namespace], &settings, &objects).expect("it is refused");
    assert!(
        refused.contains("is being deleted (widgets remain)"),
        "{refused}"
    );
}

#[test]
fn an_api_server_of_2020_is_refused_and_a_nameless_one_is_not() {
    for (version, refused) in [("v1.19.16", true), ("v1.22.0", false), ("v1.36.2", false)] {
        let version = Version::parse(version).expect("it is a version");
        assert_eq!(too_old(&version).is_some(), refused, "{version}");
    }
}
