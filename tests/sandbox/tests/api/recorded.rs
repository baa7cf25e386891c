//! The requests that were recorded from a real server, sent again in the same order: the answers
//! must be the same, but for what differs each time.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use netting_sandbox::api::Options;
use serde_json::{Value, json};

use crate::harness::{Harness, normalised};

/// A recorded request and answer.
pub(crate) fn recording(name: &str) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/api/{name}.json"));
    let text = fs::read_to_string(&path).expect("the recording is there");
    serde_json::from_str(&text).expect("a recording is JSON")
}

/// Sends the recorded request; the recorded and the new answer, with what is the same each time.
async fn replay(harness: &Harness, name: &str) -> (Value, Value) {
    let recording = recording(name);
    replay_with(harness, &recording, &recording["request"]["body"]).await
}

async fn replay_with(harness: &Harness, recording: &Value, body: &Value) -> (Value, Value) {
    let request = &recording["request"];
    let method = request["method"].as_str().expect("a method");
    let path = request["path"].as_str().expect("a path");
    let answer = harness
        .send(
            method,
            path,
            request["contentType"].as_str().unwrap_or(""),
            body,
        )
        .await;
    let headers = ["cache-control", "content-type"].map(|name| {
        let value = answer
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        (name.to_owned(), json!(value))
    });
    let recorded = &recording["response"];
    let mut headers_expected = recorded["headers"].clone();
    headers_expected
        .as_object_mut()
        .expect("headers")
        .remove("content-length");
    let expected = json!({"status": recorded["status"], "headers": headers_expected, "body": normalised(&recorded["body"])});
    let found = json!({"status": answer.status, "headers": Value::Object(headers.into_iter().collect()),
        "body": normalised(&answer.body)});
    (expected, found)
}

async fn same(harness: &Harness, name: &str) {
    let (expected, found) = replay(harness, name).await;
    assert_eq!(found, expected, "{name}");
}

/// The Services of the recorded namespace, as `kubectl apply` made them.
pub(crate) async fn apply_recorded_services(harness: &Harness) {
    for event in watch_recording("services") {
        let annotation = &event["object"]["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
        if event["type"] != "ADDED" {
            continue;
        }
        let text = annotation.as_str().expect("kubectl made it");
        let mut service: Value = serde_json::from_str(text).expect("kubectl wrote JSON");
        service["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
            annotation.clone();
        let path = "/api/v1/namespaces/shop/services?fieldManager=kubectl-client-side-apply&fieldValidation=Strict";
        let answer = harness.post(path, service).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
}

/// The events of a recorded watch.
pub(crate) fn watch_recording(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/fixtures/watch/{name}.watch.jsonl"));
    let text = fs::read_to_string(&path).expect("the recording is there");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is an event"))
        .collect()
}

async fn annotate_cart(harness: &Harness) {
    let path = "/api/v1/namespaces/shop/services/cart?fieldManager=kubectl-annotate";
    let answer = harness
        .patch(path, json!({"metadata": {"annotations": {"a": "b"}}}))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn answers_what_a_real_server_answered() {
    let harness = Harness::start(Options::default()).await;
    harness.namespace("shop").await;
    apply_recorded_services(&harness).await;
    annotate_cart(&harness).await;
    harness
        .delete("/api/v1/namespaces/shop/services/edge")
        .await;
    for name in [
        "create-configmap",
        "create-again",
        "merge-patch",
        "update-conflict",
        "apply-patch",
        "apply-patch-again",
    ] {
        same(&harness, name).await;
    }
    for name in [
        "apply-conflict",
        "list-label-selector",
        "list-field-selector",
        "invalid-service",
        "get-missing",
    ] {
        same(&harness, name).await;
    }
    for name in [
        "create-service",
        "delete-service",
        "lease-create",
        "json-patch",
        "json-patch-bad",
    ] {
        same(&harness, name).await;
    }
    for name in ["version", "api", "discovery-v1-resources"] {
        same(&harness, name).await;
    }
}

#[tokio::test]
async fn the_first_page_of_a_list_tells_of_the_next_as_it_was_recorded() {
    let harness = Harness::start(Options::default()).await;
    let accounts = "/api/v1/namespaces/kube-system/serviceaccounts";
    let others = (0..34).map(|n| format!("later-{n}"));
    let first = ["attachdetach-controller", "certificate-controller"].map(ToOwned::to_owned);
    for name in others.chain(first) {
        let made = harness
            .post(accounts, json!({"metadata": {"name": name}}))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let (mut expected, mut found) = replay(&harness, "list-limit").await;
    for answer in [&mut expected, &mut found] {
        let token = &mut answer["body"]["metadata"]["continue"];
        let decoded = URL_SAFE_NO_PAD.decode(token.as_str().expect("a token"));
        *token = serde_json::from_slice(&decoded.expect("base64")).expect("JSON");
        token["rv"] = token["rv"].is_u64().into();
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_watch_from_the_beginning_replays_what_happened() {
    let harness = Harness::start(Options::default()).await;
    harness.namespace("shop").await;
    let start = harness.get("/api/v1/namespaces/shop/services").await.body;
    let start = start["metadata"]["resourceVersion"]
        .as_str()
        .expect("lists have a version")
        .to_owned();
    apply_recorded_services(&harness).await;
    annotate_cart(&harness).await;
    harness
        .delete("/api/v1/namespaces/shop/services/edge")
        .await;
    same(&harness, "create-service").await;
    same(&harness, "delete-service").await;
    let path = format!(
        "/api/v1/namespaces/shop/services?watch=1&resourceVersion={start}&timeoutSeconds=1"
    );
    let found: Vec<Value> = harness
        .watch(&path)
        .await
        .all()
        .await
        .iter()
        .map(normalised)
        .collect();
    let recorded = recording("watch-from-old-version");
    let recorded = recorded["response"]["body"]
        .as_str()
        .expect("a stream of lines");
    let expected: Vec<Value> = recorded
        .lines()
        .map(|line| normalised(&serde_json::from_str(line).expect("an event")))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn tokens_are_made_and_reviewed_as_a_real_server_does() {
    let harness = Harness::start(Options::default()).await;
    harness.namespace("shop").await;
    harness
        .post(
            "/api/v1/namespaces/shop/serviceaccounts",
            json!({"metadata": {"name": "robot"}}),
        )
        .await;
    same(&harness, "token-request").await;
    same(&harness, "token-review-garbage").await;
    let request = recording("token-request");
    let path = request["request"]["path"].as_str().expect("a path");
    let made = harness
        .post(path, request["request"]["body"].clone())
        .await
        .body;
    let token = made["status"]["token"].clone();
    // Signatures were taken out of the recordings: the same is asked about a token of ours.
    for name in ["token-review", "token-review-wrong-audience"] {
        let review = recording(name);
        let mut body = review["request"]["body"].clone();
        body["spec"]["token"] = token.clone();
        let (expected, found) = replay_with(&harness, &review, &body).await;
        assert_eq!(found, expected, "{name}");
    }
    let claims = |token: &Value| -> Value {
        let part = token
            .as_str()
            .and_then(|token| token.split('.').nth(1))
            .expect("three parts");
        let json = URL_SAFE_NO_PAD.decode(part).expect("base64");
        let mut claims: Value = serde_json::from_slice(&json).expect("JSON");
        for volatile in ["exp", "iat", "nbf", "jti"] {
            claims[volatile] = claims[volatile].is_null().into();
        }
        normalised(&claims)
    };
    assert_eq!(
        claims(&token),
        claims(&request["response"]["body"]["status"]["token"])
    );
}

#[tokio::test]
async fn webhook_configurations_read_as_they_were_recorded() {
    let harness = Harness::start(Options::default()).await;
    let recorded = recording("get-webhook");
    let annotation = &recorded["response"]["body"]["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    let mut object: Value =
        serde_json::from_str(annotation.as_str().expect("kubectl made it")).expect("JSON");
    object["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": annotation});
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations?fieldManager=kubectl-client-side-apply";
    let made = harness.post(path, object).await;
    assert_eq!(made.status, 201, "{}", made.body);
    same(&harness, "get-webhook").await;
}

#[tokio::test]
async fn what_is_served_is_described_as_a_real_server_describes_it() {
    let harness = Harness::start(Options::default()).await;
    for (name, path, list) in [
        ("apis", "/apis", "groups"),
        ("core-v1-resources", "/api/v1", "resources"),
    ] {
        let recorded = recording(name)["response"]["body"][list].clone();
        let recorded = recorded.as_array().expect("a list");
        let found = harness.get(path).await.body[list].clone();
        let mut position = 0;
        for mut one in found.as_array().expect("a list").clone() {
            let same_name = |other: &&Value| other["name"] == one["name"];
            let expected = recorded
                .iter()
                .find(same_name)
                .expect("a real server has it too");
            let at = recorded
                .iter()
                .position(|other| other["name"] == one["name"])
                .unwrap_or(0);
            assert!(at >= position, "{} comes in another order", one["name"]);
            position = at;
            let mut expected = expected.clone();
            for object in [&mut one, &mut expected] {
                // Not everything goes through the proxy, and there is no `kubectl get all`.
                object["categories"] = Value::Null;
                if object["name"] == "pods/proxy" {
                    object["verbs"] = Value::Null;
                }
            }
            assert_eq!(one, expected);
        }
    }
}
