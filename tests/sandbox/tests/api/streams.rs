//! Watches: what a client sees that looks only now and then, or from too long ago.

use netting_sandbox::api::Options;
use serde_json::{Value, json};

use crate::harness::Harness;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn config_map(harness: &Harness, name: &str, labels: Value) {
    let made = harness
        .post(MAPS, json!({"metadata": {"name": name, "labels": labels}}))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect()
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_says_410() {
    let harness = Harness::start(Options {
        history_capacity: 4,
        ..Options::default()
    })
    .await;
    for number in 0..8 {
        config_map(&harness, &format!("m{number}"), json!({})).await;
    }
    let events = harness
        .watch(&format!("{MAPS}?watch=1&resourceVersion=3"))
        .await
        .all()
        .await;
    assert_eq!(kinds(&events), ["ERROR"]);
    assert_eq!(
        (&events[0]["object"]["code"], &events[0]["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
    let future = harness.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!(future.status, 504, "{}", future.body);
}

#[tokio::test]
async fn a_selective_watch_sees_objects_come_into_and_out_of_sight() {
    let harness = Harness::start(Options::default()).await;
    let mut events = harness
        .watch(&format!("{MAPS}?watch=1&labelSelector=a%3D1"))
        .await;
    config_map(&harness, "other", json!({"a": "2"})).await;
    config_map(&harness, "m", json!({"a": "1"})).await;
    for value in ["1", "2", "1"] {
        let labels = json!({"metadata": {"labels": {"a": value, "b": value}}});
        harness.patch(&format!("{MAPS}/m"), labels).await;
    }
    harness.delete(&format!("{MAPS}/m")).await;
    let seen = events.until(|event| event["type"] == "DELETED").await;
    assert_eq!(kinds(&seen), ["ADDED", "MODIFIED", "DELETED"]);
    assert_eq!(
        seen[2]["object"]["metadata"]["labels"]["a"], "1",
        "its last state in sight"
    );
    let seen = events.until(|event| event["type"] == "DELETED").await;
    assert_eq!(kinds(&seen), ["ADDED", "DELETED"]);
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_bookmark() {
    let harness = Harness::start(Options::default()).await;
    config_map(&harness, "m", json!({})).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=5";
    let mut events = harness.watch(&format!("{MAPS}?{query}")).await;
    let initial = events.until(|event| event["type"] == "BOOKMARK").await;
    assert_eq!(
        kinds(&initial),
        ["ADDED", "ADDED", "BOOKMARK"],
        "with the namespace's own kube-root-ca.crt"
    );
    assert_eq!(
        initial[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    config_map(&harness, "later", json!({})).await;
    let next = events.next().await.expect("the stream goes on");
    assert_eq!(next["object"]["metadata"]["name"], "later");
}

#[tokio::test]
async fn a_watch_ends_when_it_said_it_would_with_a_bookmark() {
    let harness = Harness::start(Options::default()).await;
    let path =
        format!("{MAPS}?watch=1&resourceVersion=2&allowWatchBookmarks=true&timeoutSeconds=1");
    let events = harness.watch(&path).await.all().await;
    assert_eq!(kinds(&events).last(), Some(&"BOOKMARK"));
}

#[tokio::test]
async fn a_watch_of_one_name_sees_only_that() {
    let harness = Harness::start(Options::default()).await;
    let mut events = harness
        .watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Dm"))
        .await;
    config_map(&harness, "n", json!({})).await;
    config_map(&harness, "m", json!({})).await;
    assert_eq!(
        events.next().await.expect("an event")["object"]["metadata"]["name"],
        "m"
    );
}
