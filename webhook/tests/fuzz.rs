//! A bounded run of what `fuzz/` does without an end: from fixed seeds, so that a
//! failure happens again.

use std::{fs, path::Path};

use fastrand::Rng;
use serde_json::{Map, Value, json};

use target::Target;

#[path = "fuzz/target.rs"]
mod target;

const CASES: u64 = 800;
const DEPTH_MAX: usize = 5;

/// Words that mean something in a pod, so that made-up JSON gets beyond its surface.
const WORDS: [&str; 36] = [
    "metadata",
    "spec",
    "annotations",
    "labels",
    "name",
    "namespace",
    "containers",
    "initContainers",
    "volumes",
    "ports",
    "containerPort",
    "hostPort",
    "protocol",
    "env",
    "value",
    "image",
    "command",
    "resources",
    "requests",
    "limits",
    "cpu",
    "memory",
    "securityContext",
    "runAsUser",
    "restartPolicy",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "tcpSocket",
    "httpGet",
    "grpc",
    "port",
    "hostNetwork",
    "netting.dev/inject",
    "netting.dev/skip-outbound-ports",
];

fn recorded() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/admission");
    let files = fs::read_dir(folder).expect("the fixtures are there");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("it is listed").path())
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| -> Value {
        let text = fs::read(path).expect("a fixture can be read");
        serde_json::from_slice(&text).expect("a fixture is JSON")
    };
    paths.iter().map(read).collect()
}

#[test]
fn arbitrary_bytes_are_refused_or_allowed() {
    let target = Target::new();
    let recorded = recorded();
    for seed in 0..CASES {
        let mut rng = Rng::with_seed(seed);
        let mut body = if rng.u8(..) < 32 {
            (0..rng.usize(..512)).map(|_| rng.u8(..)).collect()
        } else {
            let review = &recorded[rng.usize(..recorded.len())]["review"];
            review.to_string().into_bytes()
        };
        for _ in 0..rng.usize(..4) {
            damage(&mut rng, &mut body);
        }
        target.send(&body);
    }
}

fn damage(rng: &mut Rng, body: &mut Vec<u8>) {
    if body.is_empty() {
        return;
    }
    let (one, other) = (rng.usize(..body.len()), rng.usize(..body.len()));
    let (start, end) = (one.min(other), one.max(other));
    match rng.u8(..5) {
        0 => body.truncate(one),
        1 => body[one] = rng.u8(..),
        2 => drop(body.drain(start..end.min(start + 64))),
        3 => {
            let again = body[start..end.min(start + 64)].to_vec();
            body.splice(one..one, again);
        }
        _ => body.insert(one, b"\"\\{}[],:0-e\0\xff"[rng.usize(..13)]),
    }
}

#[test]
fn arbitrary_json_in_the_place_of_a_pod_is_allowed() {
    let target = Target::new();
    for seed in 0..CASES {
        let mut rng = Rng::with_seed(seed);
        target.create(&arbitrary(&mut rng, 0));
        let mut pod = arbitrary_object(&mut rng, 2);
        pod.insert("apiVersion".to_owned(), json!("v1"));
        pod.insert("kind".to_owned(), json!("Pod"));
        target.create(&Value::Object(pod));
    }
}

#[test]
fn recorded_pods_with_arbitrary_json_somewhere_in_them_are_allowed() {
    let target = Target::new();
    let recorded = recorded();
    for seed in 0..CASES {
        let mut rng = Rng::with_seed(seed);
        let review = &recorded[rng.usize(..recorded.len())]["review"];
        let mut pod = review["request"]["object"].clone();
        for _ in 0..=rng.usize(..3) {
            replace_somewhere(&mut rng, &mut pod);
        }
        target.create(&pod);
    }
}

fn replace_somewhere(rng: &mut Rng, value: &mut Value) {
    let stop = rng.u8(..) < 48;
    match value {
        Value::Object(fields) if !stop && !fields.is_empty() => {
            let nth = rng.usize(..fields.len());
            let child = fields.values_mut().nth(nth).expect("it has so many");
            replace_somewhere(rng, child);
        }
        Value::Array(items) if !stop && !items.is_empty() => {
            let nth = rng.usize(..items.len());
            replace_somewhere(rng, &mut items[nth]);
        }
        _ => *value = arbitrary(rng, 2),
    }
}

fn arbitrary(rng: &mut Rng, depth: usize) -> Value {
    match rng.u8(..if depth < DEPTH_MAX { 10 } else { 6 }) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(..)),
        3 => json!([0, 1, -1, 15001, 65_536, 4150][rng.usize(..6)]),
        4 => json!(rng.f64() * 1e300),
        5 => json!(text(rng)),
        6 | 7 => {
            let items = (0..rng.usize(..4)).map(|_| arbitrary(rng, depth + 1));
            Value::Array(items.collect())
        }
        _ => Value::Object(arbitrary_object(rng, depth)),
    }
}

fn arbitrary_object(rng: &mut Rng, depth: usize) -> Map<String, Value> {
    let fields = (0..rng.usize(..8)).map(|_| (text(rng), arbitrary(rng, depth + 1)));
    fields.collect()
}

fn text(rng: &mut Rng) -> String {
    match rng.u8(..8) {
        0 => (0..rng.usize(..40)).map(|_| rng.char(..)).collect(),
        1 => "a/b~c\"".repeat(rng.usize(..50)),
        _ => WORDS[rng.usize(..WORDS.len())].to_owned(),
    }
}
