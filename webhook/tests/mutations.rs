//! Recorded requests and odd ones, damaged at random from a fixed seed: whatever
//! arrives is refused as malformed or allowed; a patch fits the pod that it is for,
//! changes nothing that it shouldn't, adds nothing the second time, and can be taken
//! back.

use clap::Parser as _;
use fastrand::Rng;
use netting_webhook::{Args, Options, namespaces::Known, review::Review};
use serde_json::{Value, json};

use promises::check;

#[path = "mutations/changes.rs"]
mod changes;
#[path = "mutations/kept.rs"]
mod kept;
#[path = "mutations/pods.rs"]
mod pods;
#[path = "mutations/promises.rs"]
mod promises;

const SEED: u64 = 4150;
const ROUNDS: usize = 30;
/// Of the changes that leave pods to inject, which takes longer than to refuse them.
const VALID_ROUNDS: usize = 10;

/// Native and classic, with probes of every kind rewritten.
fn options() -> [Options; 2] {
    ["native", "classic"].map(|mode| {
        let args = Args::parse_from([
            "netting-webhook",
            "--pod-namespace=netting",
            "--rewrite-http-probes",
            &format!("--sidecar-mode={mode}"),
        ]);
        args.options().expect("the defaults agree with each other")
    })
}

#[test]
fn arbitrary_bytes_are_refused_or_allowed() {
    let mut random = Rng::with_seed(SEED);
    let options = options();
    for body in pods::reviews() {
        let original = serde_json::to_vec(&body).expect("a value is JSON");
        for round in 0..ROUNDS {
            let mut bytes = original.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            check(&bytes, &options[round % 2]);
        }
    }
    for _ in 0..ROUNDS {
        let mut noise = vec![0; random.usize(..4096)];
        random.fill(&mut noise);
        assert!(!check(&noise, &options[0]), "noise is no review");
    }
}

#[test]
fn arbitrary_json_in_the_place_of_anything_is_refused_or_allowed() {
    let mut random = Rng::with_seed(SEED);
    let options = options();
    let mut reviews = 0;
    for body in pods::reviews() {
        for round in 0..ROUNDS {
            let mut body = body.clone();
            for _ in 0..random.usize(1..4) {
                let anywhere = random.u8(..3) == 0;
                let part = if anywhere { "" } else { "/request/object" };
                if let Some(part) = body.pointer_mut(part) {
                    damage(part, &mut random);
                }
            }
            let bytes = serde_json::to_vec(&body).expect("a value is JSON");
            reviews += usize::from(check(&bytes, &options[round % 2]));
        }
    }
    assert!(reviews > 1000, "most of them still are reviews: {reviews}");
}

/// As far as what they are changed to is that of a valid pod.
#[test]
fn valid_pods_are_injected_or_named_a_reason_and_stay_what_they_were() {
    let mut random = Rng::with_seed(SEED);
    let options = options();
    let mut injected = 0;
    for body in pods::reviews() {
        for round in 0..VALID_ROUNDS {
            let mut body = body.clone();
            for _ in 0..random.usize(1..6) {
                changes::change(&mut body["request"]["object"], &mut random);
            }
            let bytes = serde_json::to_vec(&body).expect("a value is JSON");
            let options = &options[round % 2];
            assert!(check(&bytes, options), "it is a review");
            let review = Review::parse(&bytes).expect("it is a review");
            let verdict = review.decide(&Known::default(), options);
            match verdict.decision.reason() {
                "requested" => injected += 1,
                "not_a_pod" => panic!("{:?}: {body:#}", verdict.warnings),
                _ => {}
            }
        }
    }
    assert!(injected > 500, "most of them are injected: {injected}");
}

/// Walks down at random and puts something else there.
fn damage(place: &mut Value, random: &mut Rng) {
    let deeper = random.u8(..8) > 0;
    let below = match place {
        Value::Object(object) if deeper && !object.is_empty() => {
            let nth = random.usize(..object.len());
            object.values_mut().nth(nth)
        }
        Value::Array(list) if deeper && !list.is_empty() => {
            let nth = random.usize(..list.len());
            list.get_mut(nth)
        }
        _ => None,
    };
    match below {
        Some(below) => damage(below, random),
        None => *place = anything(random),
    }
}

fn anything(random: &mut Rng) -> Value {
    match random.u8(..19) {
        0 => json!(null),
        1 => json!({}),
        2 => json!([]),
        3 => json!([null]),
        4 => json!([{}]),
        5 => json!(true),
        6 => json!(random.i64(..)),
        7 => json!(-1.5e300),
        8 => json!("netting-sidecar"),
        9 => json!([{"name": "netting-init"}]),
        10 => {
            json!({"netting.dev/skip-inbound-ports": "0,-,1-2-3,\u{0}", "netting.dev/inject": "\n"})
        }
        11 => {
            json!({"netting.dev/status": "[]", "netting.dev/drain-timeout": "9999999999999999999999s"})
        }
        12 => {
            json!({"netting.dev/proxy-cpu-limit": "1e-99999", "netting.dev/proxy-cpu-request": ".".repeat(99)})
        }
        13 => json!({"runAsUser": u64::MAX, "limits": {"cpu": "0"}, "requests": {"cpu": 1}}),
        14 => json!("ü~/".repeat(random.usize(..200))),
        15 => json!({"tcpSocket": {"port": "http"}, "timeoutSeconds": random.i64(-1..3)}),
        16 => json!({"path": "/$%zz#?//", "port": random.u16(..), "scheme": "HTTPS"}),
        17 => json!([{"name": "X", "value": "a\r\nb"}, {"name": "Host", "value": "ü"}]),
        _ => json!({"name": null, "ports": [{"containerPort": 15001}]}),
    }
}
