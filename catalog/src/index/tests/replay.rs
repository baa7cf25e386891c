//! Watch streams of a real API server, replayed in the order of its
//! resource versions; the states after each event are a golden file.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use serde_json::{Value, json};

use crate::test_cluster::{Cluster, Object};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/watch")
}

/// All events of the four streams, as etcd saw them.
fn events() -> Vec<Value> {
    let mut events = Vec::new();
    for kind in ["services", "endpointslices", "endpoints", "pods"] {
        let path = fixtures().join(format!("{kind}.watch.jsonl"));
        let lines = fs::read_to_string(&path).expect("the fixtures are in the repository");
        events.extend(
            lines
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("an API server sends JSON")),
        );
    }
    events.sort_by_key(version);
    events
}

fn version(event: &Value) -> u64 {
    let version = event["object"]["metadata"]["resourceVersion"].as_str();
    let version = version.and_then(|version| version.parse().ok());
    version.expect("each object has a version")
}

/// The pods of the recording aren't meshed. Of the two, make one so.
fn meshed(mut object: Value) -> Value {
    if object["kind"] == json!("Pod")
        && object["metadata"]["name"] == json!("cart-86cfc9948c-wpcw2")
    {
        object["metadata"]["labels"]["netting.dev/injected"] = json!("true");
        object["spec"]["initContainers"] = json!([{"name": "netting-sidecar"}]);
    }
    object
}

const ADDRESSES: [&str; 9] = [
    "10.96.223.186:80",
    "10.96.223.186:9000",
    "10.96.223.186:53",
    "10.96.175.154:3306",
    "10.96.63.17:443",
    "10.244.0.1:8080",
    "10.244.0.2:9000",
    "10.244.0.1:1",
    "192.0.2.10:3306",
];

fn replay() -> String {
    let mut cluster = Cluster::default();
    let mut text = String::new();
    let mut last: Vec<Vec<String>> = ADDRESSES.map(|_| Vec::new()).into();
    for event in events() {
        let object = meshed(event["object"].clone());
        if event["type"] == json!("DELETED") {
            cluster.delete(&object);
        } else {
            cluster.apply(&object);
        }
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        writeln!(text, "{} {} {kind} {name}", version(&event), event["type"])
            .expect("writing to a string does not fail");
        for (address, last) in ADDRESSES.iter().zip(&mut last) {
            let state = cluster.look(address);
            if state != *last {
                writeln!(text, "    {address} is {}", state.join("\n        "))
                    .expect("writing to a string does not fail");
                *last = state;
            }
        }
    }
    text
}

#[test]
fn a_recorded_cluster_gives_the_recorded_states() {
    let golden = fixtures().join("states.txt");
    let replayed = replay();
    netting_golden::assert_golden(golden, &replayed);
}

#[test]
fn nothing_that_a_real_cluster_says_is_refused() {
    let kinds: BTreeSet<String> = events()
        .iter()
        .map(|e| e["object"]["kind"].to_string())
        .collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    for event in events() {
        let parsed = Object::parse(&meshed(event["object"].clone()));
        assert_eq!(parsed.refused(), [], "{event}");
    }
}
