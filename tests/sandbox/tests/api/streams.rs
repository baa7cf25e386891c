//! Watches, and lists in pages: what a client sees that looks only now and then, or from too long
//! ago.

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

/// The names in a page of a list, and the token for the next page if there is one.
async fn page(harness: &Harness, path: &str) -> (Vec<String>, Option<String>) {
    let list = harness.get(path).await;
    assert_eq!(list.status, 200, "{}", list.body);
    let items = list.body["items"].as_array().expect("a list").iter();
    let names = items.filter_map(|item| item["metadata"]["name"].as_str());
    let token = list.body["metadata"]["continue"].as_str();
    (names.map(str::to_owned).collect(), token.map(str::to_owned))
}

#[tokio::test]
async fn a_list_that_goes_on_from_a_forgotten_version_says_410() {
    let harness = Harness::start(Options {
        history_capacity: 4,
        ..Options::default()
    })
    .await;
    for number in 0..4 {
        config_map(&harness, &format!("m{number}"), json!({})).await;
    }
    let (_, token) = page(&harness, &format!("{MAPS}?limit=2")).await;
    let next = format!("{MAPS}?limit=2&continue={}", token.expect("there is more"));
    page(&harness, &next).await;
    let mistaken = harness.get(&format!("{next}&resourceVersion=1")).await;
    assert_eq!(mistaken.status, 400, "{}", mistaken.body);
    let garbage = harness.get(&format!("{MAPS}?continue=garbage")).await;
    assert_eq!(garbage.status, 400, "{}", garbage.body);
    for number in 4..9 {
        config_map(&harness, &format!("m{number}"), json!({})).await;
    }
    let late = harness.get(&next).await;
    assert_eq!(
        (late.status, &late.body["reason"]),
        (410, &json!("Expired")),
        "{}",
        late.body
    );
}

#[tokio::test]
async fn pages_show_what_was_there_when_the_first_was_asked_for() {
    let harness = Harness::start(Options::default()).await;
    for name in ["a", "b", "c", "d"] {
        config_map(&harness, name, json!({"a": "1"})).await;
    }
    for (newcomer, list) in [
        ("e", format!("{MAPS}?limit=2")),
        ("f", format!("{MAPS}?limit=2&labelSelector=a%3D1")),
        ("g", "/api/v1/configmaps?limit=2".to_owned()),
    ] {
        let (all, _) = page(&harness, &list.replace("limit=2", "limit=0")).await;
        assert!(all.len() >= 4, "{all:?}");
        let (mut found, mut token) = page(&harness, &list).await;
        config_map(&harness, newcomer, json!({"a": "1"})).await;
        harness.delete(&format!("{MAPS}/d")).await;
        while let Some(after) = token {
            assert_eq!(found.len() % 2, 0, "all pages but the last are full");
            let (names, next) = page(&harness, &format!("{list}&continue={after}")).await;
            found.extend(names);
            token = next;
        }
        assert_eq!(found, all, "{list}");
        config_map(&harness, "d", json!({"a": "1"})).await;
    }
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
