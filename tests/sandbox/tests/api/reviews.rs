//! The reviews that webhooks are sent: those that a real server sent, for the same pods.

use std::{fs, path::Path};

use netting_sandbox::api::Options;
use serde_json::{Value, json};

use crate::{
    harness::{Harness, normalised},
    webhook::{configure, webhook},
};

#[tokio::test]
async fn reviews_are_what_a_real_server_sent() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/admission");
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("recordings")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let recorded: Value =
            serde_json::from_str(&fs::read_to_string(&file).expect("a recording")).expect("JSON");
        let request = &recorded["review"]["request"];
        let (server, seen) = webhook(json!({"allowed": true})).await;
        let harness = Harness::start(Options::default()).await;
        let namespace = request["namespace"].as_str().expect("pods have one");
        harness.namespace(namespace).await;
        configure(&harness, "hook", &server, json!({})).await;
        let account = request["object"]["spec"]["serviceAccountName"]
            .as_str()
            .unwrap_or("default");
        let automount = request["object"]["spec"]["volumes"].is_array();
        let account =
            json!({"metadata": {"name": account}, "automountServiceAccountToken": automount});
        harness
            .post(
                &format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
                account,
            )
            .await;
        let query = query(&request["options"]);
        let made = harness
            .post(
                &format!("/api/v1/namespaces/{namespace}/pods?{query}"),
                before_admission(&request["object"]),
            )
            .await;
        assert_eq!(made.status, 201, "{file:?}: {}", made.body);
        let seen = seen.lock();
        let sent = seen.first().expect("it was asked");
        assert_eq!(sent.uri(), recorded["path"].as_str().expect("a path"));
        for header in ["User-Agent", "Accept", "Content-Type"] {
            assert_eq!(
                sent.headers()[header],
                recorded["headers"][header].as_str().expect("a header"),
                "{file:?}"
            );
        }
        assert_eq!(
            comparable(sent.body()),
            comparable(&recorded["review"]),
            "{file:?}"
        );
    }
}

fn query(options: &Value) -> String {
    let known = ["fieldManager", "fieldValidation"]
        .iter()
        .filter_map(|key| Some(format!("{key}={}", options[*key].as_str()?)));
    known.collect::<Vec<_>>().join("&")
}

/// The pod as its creator sent it: without what admission added.
fn before_admission(pod: &Value) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]
        .as_object_mut()
        .expect("metadata")
        .remove("managedFields");
    let spec = pod["spec"].as_object_mut().expect("a spec");
    for added in ["tolerations", "priority", "preemptionPolicy", "volumes"] {
        spec.remove(added);
    }
    for kind in ["initContainers", "containers"] {
        for container in spec
            .get_mut(kind)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let container = container.as_object_mut().expect("a container");
            let Some(Value::Array(mut mounts)) = container.remove("volumeMounts") else {
                continue;
            };
            let is_added = |mount: &Value| {
                mount["name"]
                    .as_str()
                    .unwrap_or_default()
                    .starts_with("kube-api-access-")
            };
            mounts.retain(|mount| !is_added(mount));
            if !mounts.is_empty() {
                container.insert("volumeMounts".to_owned(), mounts.into());
            }
        }
    }
    pod
}

/// A review without what differs: identities, who asked, and a distribution's own additions.
fn comparable(review: &Value) -> Value {
    let mut review = normalised(review);
    let request = &mut review["request"];
    request["userInfo"] = Value::Null;
    let object = &mut request["object"];
    // Which fields count as set is compared where the API itself is tested; here they depend on
    // what was left out when the pod was sent.
    object["metadata"]["managedFields"] = Value::Null;
    let sources = object
        .pointer_mut("/spec/volumes/0/projected/sources")
        .and_then(Value::as_array_mut);
    if let Some(sources) = sources {
        sources.retain(|source| source["configMap"]["name"] != "openshift-service-ca.crt");
    }
    let text = review.to_string();
    match text
        .split('"')
        .find(|part| part.starts_with("kube-api-access-"))
    {
        Some(volume) => serde_json::from_str(&text.replace(volume, "kube-api-access-<generated>"))
            .expect("still JSON"),
        None => review,
    }
}
