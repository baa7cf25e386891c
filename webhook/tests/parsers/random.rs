//! Annotations made at random from a fixed seed, right, nearly right and wrong: whatever
//! the webhook keeps of them, those who get it take.

use fastrand::Rng;
use netting_runtime::logging::{self, LogFormat};
use netting_telemetry::config::{Reference, Telemetry, Values};
use netting_webhook::names;
use serde_json::{Map, Value, json};

use super::{args_of, command, injected_anyhow, options_of};

const SEED: u64 = 4150;
const ROUNDS: usize = 400;

/// The annotations that end up in somebody's command line or environment, with values to
/// begin with.
const BEGINNINGS: [(&str, &[&str]); 9] = [
    ("skip-inbound-ports", &["22", "8000-8010", "65535", "http"]),
    ("skip-outbound-ports", &["3306", "80 - 90", "7-7", "0080"]),
    (
        "skip-inbound-cidrs",
        &["10.9.8.7/16", "fd00::1", "::ffff:10.0.0.0/104", "0.0.0.0/0"],
    ),
    (
        "skip-outbound-cidrs",
        &["::ffff:10.0.0.1", "::ffff:0:0/90", "64:ff9b::/96", "::/0"],
    ),
    ("opaque-ports", &["3306", "1-65535", "http"]),
    (
        "log-level",
        &["info", "warn", "netting_sidecar::relay=trace"],
    ),
    (
        "access-log",
        &[
            "errors;slow=500ms",
            "all;format=%{path} %{status};to=stderr",
            "off",
        ],
    ),
    (
        "telemetry",
        &[
            "prometheus",
            "otlp=http://$(HOST_IP):4317;interval=10s",
            "statsd=udp://$(HOST_IP):8125;prefix=$(POD_NAME)",
            "otlp=https://x:4318;token=$(secret:otel-creds/api.key)",
            "OTEL_SERVICE_NAME=\"a,b\"",
        ],
    ),
    ("drain-timeout", &["20s", "1m 5s", "1500ms", "0s", "1us"]),
];

/// What makes a difference to one parser or another.
const ODD: [&str; 20] = [
    ",", " ", "-", "+", "0", "9", ":", "/", ".", "=", ";", "%", "$", "(", "\"", "x", "F",
    "\u{668}", "\u{7}", "::ffff:",
];

fn value(random: &mut Rng, beginnings: &[&str]) -> String {
    let items: Vec<_> = (0..random.usize(1..4))
        .map(|_| beginnings[random.usize(..beginnings.len())])
        .collect();
    let mut text = items.join(",");
    for _ in 0..random.usize(..3) {
        let places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
        let Some(at) = random.choice(places) else {
            continue;
        };
        match random.u8(..3) {
            0 => text.truncate(at),
            1 => drop(text.remove(at)),
            _ => text.insert_str(at, ODD[random.usize(..ODD.len())]),
        }
    }
    text
}

/// What the sidecar finds in its environment.
struct Told<'a>(&'a Value);

impl Values for Told<'_> {
    fn reference(&self, reference: &Reference) -> Option<String> {
        let mut variables = self.0["env"].as_array()?.iter();
        let name = reference.variable();
        let is_there = variables.any(|variable| variable["name"] == name.as_str());
        is_there.then(|| reference.example())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// How many arguments and variables a container has that not all have.
fn length(container: &Value) -> usize {
    let variables = container["env"].as_array().map_or(0, Vec::len);
    command(container).len() + variables
}

#[test]
fn whatever_the_webhook_keeps_is_taken() {
    let log = logging::init("info", LogFormat::Text).expect("nobody else sets it up");
    let mut random = Rng::with_seed(SEED);
    let plain = [names::INIT_CONTAINER, names::SIDECAR_CONTAINER]
        .map(|name| length(&injected_anyhow(json!({}), name).0));
    let (mut kept, mut refused) = ([0, 0], 0);
    for _ in 0..ROUNDS {
        let mut annotations = Map::new();
        for (key, beginnings) in BEGINNINGS {
            let value = value(&mut random, beginnings);
            annotations.insert(format!("netting.dev/{key}"), value.into());
        }
        let annotations = Value::Object(annotations);
        let (init, warnings) = injected_anyhow(annotations.clone(), names::INIT_CONTAINER);
        let (sidecar, _) = injected_anyhow(annotations.clone(), names::SIDECAR_CONTAINER);
        options_of(&init);
        let args = args_of(&sidecar);
        assert!(log.set(&args.log).is_ok(), "{annotations:#}");
        let wrong = Telemetry::parse(&args.telemetry, &Told(&sidecar)).wrong;
        assert!(
            wrong.is_empty() || !warnings.is_empty(),
            "{wrong:?} was not warned of: {annotations:#}"
        );
        kept[0] += length(&init) - plain[0];
        kept[1] += length(&sidecar) - plain[1];
        refused += warnings.len();
    }
    // Otherwise nothing was shown.
    assert!(kept.iter().all(|kept| *kept > ROUNDS), "{kept:?}");
    assert!(refused > ROUNDS, "{refused}");
}
