//! A snapshot with one of each, for the encoders' tests.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::snapshot::{
    Data, Descriptor, Distribution, Exemplar, Exponential, Label, Labels, Metric, Point, Snapshot,
};

pub(crate) fn labels(pairs: &[(&'static str, &str)]) -> Labels {
    let label = |(key, value): &(&'static str, &str)| Label {
        key,
        value: (*value).into(),
    };
    pairs.iter().map(label).collect()
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn point<T>(labels: Labels, value: T) -> Point<T> {
    Point {
        labels,
        since: at(1_700_000_000),
        value,
    }
}

/// Of a pod `web-1`, 10 seconds after its begin.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        resource: labels(&[
            ("k8s.namespace.name", "shop"),
            ("k8s.pod.name", "web-1"),
            ("service.name", "web"),
        ]),
        at: at(1_700_000_010),
        metrics: vec![active(), duration(), opened()],
    }
}

fn active() -> Metric {
    Metric {
        descriptor: Descriptor {
            name: "http.server.active_requests",
            unit: "{request}",
            description: "Requests in flight",
        },
        data: Data::Gauge(vec![point(labels(&[]), 2.5)]),
    }
}

/// 7 values: 3 below 5 ms, 3 below 10 ms, 1 above.
fn duration() -> Metric {
    let labels = labels(&[
        ("http.response.status_code", "200"),
        ("http.route", "/a b,c=d;e|f"),
    ]);
    let distribution = Distribution {
        bounds: Arc::new([0.005, 0.01]),
        counts: vec![3, 3, 1],
        sum: 0.05,
        exponential: Some(Exponential {
            scale: 1,
            zeros: 0,
            offset: -16,
            counts: vec![3, 3, 1],
        }),
        exemplars: vec![Exemplar {
            value: 0.007,
            at: at(1_700_000_005),
            trace: [1; 16],
            span: [2; 8],
        }],
    };
    Metric {
        descriptor: Descriptor {
            name: "http.server.request.duration",
            unit: "s",
            description: "Duration of requests",
        },
        data: Data::Histogram(vec![point(labels, distribution)]),
    }
}

fn opened() -> Metric {
    let labels = labels(&[("netting.direction", "inbound"), ("netting.empty", "")]);
    Metric {
        descriptor: Descriptor {
            name: "netting.tcp.opened",
            unit: "{connection}",
            description: "Connections opened",
        },
        data: Data::Counter(vec![point(labels, 41)]),
    }
}

/// Compares with a file of `tests/golden/export/`, or renews it.
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/export/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("NETTING_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "renew {name} with NETTING_UPDATE_GOLDEN=1");
}

/// All batches one after the other.
pub(crate) fn text(encoded: &super::encoded::Encoded) -> String {
    assert_eq!(encoded.too_long, 0, "all of the sample has room");
    let bodies = encoded.batches.iter().map(|batch| {
        let body = std::str::from_utf8(&batch.body).expect("it is text");
        format!("{}\n", body.trim_end())
    });
    bodies.collect()
}
