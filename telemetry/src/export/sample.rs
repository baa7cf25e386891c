//! A snapshot with one of each, for the encoders' tests.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    access_log::{self, Record},
    instrument::TraceContext,
    snapshot::{
        Data, Descriptor, Distribution, Exemplar, Exponential, Label, Labels, Metric, Point,
        Snapshot,
    },
    trace::{
        Span, SpanId, TraceId,
        span::{Attribute, Kind, Value},
    },
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
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/export");
    netting_golden::assert_golden(Path::new(path).join(name), text);
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

/// Of a server, which continues a trace, with a part; and of a client, which failed at its
/// root.
pub(crate) fn spans() -> Vec<Span> {
    let trace = TraceId::parse(b"4bf92f3577b34da6a3ce929d0e0e4736").expect("it is an id");
    let [parent, id] = [b"00f067aa0ba902b7", b"e457b5a2e4d86bd1"]
        .map(|id| SpanId::parse(id).expect("it is an id"));
    let attribute = |key, value| Attribute { key, value };
    let server = Span {
        trace,
        id,
        parent: Some(parent),
        state: Some("congo=t61".to_owned()),
        kind: Kind::Server,
        name: "GET".into(),
        begun: at(1_700_000_000),
        took: Duration::from_micros(1500),
        remote: Some(SocketAddr::from(([10, 0, 0, 1], 40000))),
        attributes: vec![
            attribute("http.request.method", "GET".into()),
            attribute("http.response.status_code", Value::Number(200)),
        ],
        failed: None,
    };
    let client = Span {
        id: parent,
        parent: None,
        state: None,
        kind: Kind::Client,
        took: Duration::ZERO,
        remote: "[fd00::2]:8080".parse().ok(),
        attributes: vec![attribute("error.type", "503".into())],
        failed: Some(""),
        ..server.clone()
    };
    let part = Span {
        id: SpanId::parse(b"b7ad6b7169203331").expect("it is an id"),
        parent: Some(id),
        kind: Kind::Internal,
        name: "decide".into(),
        remote: None,
        attributes: Vec::new(),
        ..server.clone()
    };
    vec![server, client, part]
}

/// One of a request that failed in a trace, and one of a connection.
pub(crate) fn records() -> Vec<Record> {
    let request = Record {
        at: at(1_700_000_000),
        kind: access_log::Kind::Request,
        failed: true,
        body: "GET /orders 503".to_owned(),
        attributes: vec![Attribute {
            key: "http.response.status_code",
            value: Value::Number(503),
        }],
        trace: Some(TraceContext {
            trace: [0x4b; 16],
            span: [0xe4; 8],
        }),
        sampled: true,
    };
    let connection = Record {
        kind: access_log::Kind::Connection,
        failed: false,
        body: "finished".to_owned(),
        attributes: Vec::new(),
        trace: None,
        sampled: false,
        ..request.clone()
    };
    vec![request, connection]
}
