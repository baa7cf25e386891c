//! What the webhook tells of admissions in spans, as receivers of both protocols get it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use netting_runtime::Drain;
use netting_telemetry::{
    control_plane::{Part, Started},
    proto::opentelemetry::proto::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{KeyValue, any_value::Value as Any},
        trace::v1::{Span, span::SpanKind},
    },
};
use prost::Message as _;
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use support::{HEAD, Protocol, Webhook, recorded};

#[path = "https/support.rs"]
#[allow(dead_code, reason = "the tests of HTTPS ask for what these do not")]
mod support;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The API server's own span.
const CALLER: &str = "00f067aa0ba902b7";
const FLUSH: Duration = Duration::from_secs(30);

/// Takes spans by OTLP over HTTP, and as Zipkin has them.
#[derive(Clone)]
struct Receiver {
    addr: SocketAddr,
    got: Arc<Mutex<Got>>,
}

#[derive(Default)]
struct Got {
    otlp: Vec<Span>,
    zipkin: Vec<Value>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let receiver = Self {
            addr: listener.local_addr().expect("it is bound"),
            got: Arc::default(),
        };
        let routes = Router::new()
            .route("/v1/traces", post(take_otlp))
            .route("/api/v2/spans", post(take_zipkin))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        receiver
    }

    /// Telemetry that sends here, and decides on no trace by itself.
    fn telemetry(&self) -> Started {
        let webhook = Part {
            name: "webhook",
            workload: "netting-webhook",
            pod_name: "netting-webhook-1",
            pod_namespace: "netting",
        };
        let addr = self.addr;
        let list =
            format!("otlp-http=http://{addr};signals=traces,zipkin=http://{addr}/api/v2/spans");
        let none = "0".parse().expect("it is a ratio");
        webhook.start(&list, Some(none), &Drain::new())
    }

    fn otlp(&self) -> Vec<Span> {
        self.got.lock().expect("nobody panics").otlp.clone()
    }

    fn zipkin(&self) -> Vec<Value> {
        self.got.lock().expect("nobody panics").zipkin.clone()
    }
}

async fn take_otlp(State(receiver): State<Receiver>, body: Bytes) -> StatusCode {
    let request = ExportTraceServiceRequest::decode(body).expect("it is as the protocol says");
    let scopes = request
        .resource_spans
        .into_iter()
        .flat_map(|it| it.scope_spans);
    let mut got = receiver.got.lock().expect("nobody panics");
    got.otlp.extend(scopes.flat_map(|scope| scope.spans));
    StatusCode::OK
}

async fn take_zipkin(State(receiver): State<Receiver>, body: Bytes) -> StatusCode {
    let spans: Vec<Value> = serde_json::from_slice(&body).expect("it is a list in JSON");
    receiver
        .got
        .lock()
        .expect("nobody panics")
        .zipkin
        .extend(spans);
    StatusCode::ACCEPTED
}

fn attributes(all: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|it| it.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    all.iter().map(|pair| (&*pair.key, text(pair))).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one span that continues the caller's, and its parts.
fn whole_and_parts(spans: Vec<Span>) -> (Span, Vec<Span>) {
    let (mut wholes, parts): (Vec<_>, Vec<_>) = spans
        .into_iter()
        .partition(|span| span.kind == SpanKind::Server as i32);
    assert_eq!(wholes.len(), 1, "{wholes:?}");
    (wholes.remove(0), parts)
}

async fn ask(webhook: &Webhook, fields: &str, body: &[u8]) -> String {
    let length = body.len();
    let body = String::from_utf8_lossy(body);
    webhook
        .raw_request(&format!("content-length: {length}\r\n{fields}\r\n{body}"))
        .await
}

#[tokio::test]
async fn an_admission_is_told_in_the_trace_of_the_api_server() {
    let receiver = Receiver::start().await;
    let telemetry = receiver.telemetry();
    let webhook = Webhook::start_traced(telemetry.tracer.clone()).await;
    let pod = recorded("edge-none-restricted");
    let parent = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n");
    for fields in [&*parent, ""] {
        let answer = ask(&webhook, fields, &pod).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    telemetry.flush(FLUSH).await;

    let (whole, parts) = whole_and_parts(receiver.otlp());
    assert_eq!(
        (&*hex(&whole.trace_id), &*hex(&whole.parent_span_id)),
        (TRACE, CALLER)
    );
    assert_eq!(
        (&*whole.name, whole.status.is_none()),
        ("POST /mutate", true)
    );
    let told = attributes(&whole.attributes);
    for (key, value) in [
        ("http.route", "/mutate"),
        ("http.response.status_code", "200"),
        ("netting.admission.decision", "inject"),
        ("netting.admission.warnings", "0"),
        ("network.peer.address", "127.0.0.1"),
        ("url.scheme", "https"),
    ] {
        assert_eq!(
            told.get(key).map(String::as_str),
            Some(value),
            "{key}: {told:?}"
        );
    }
    for key in [
        "netting.admission.namespace",
        "netting.admission.pod",
        "netting.admission.uid",
    ] {
        assert!(told.contains_key(key), "{key}: {told:?}");
    }
    let names: Vec<&str> = parts.iter().map(|part| &*part.name).collect();
    let expected = [
        "read body",
        "look up namespace",
        "parse review",
        "decide and patch",
        "write patch",
    ];
    assert_eq!(names, expected);
    for part in &parts {
        assert_eq!(
            (&part.trace_id, &part.parent_span_id),
            (&whole.trace_id, &whole.span_id)
        );
        assert!(part.start_time_unix_nano >= whole.start_time_unix_nano);
        assert_eq!(part.kind, SpanKind::Internal as i32);
    }

    let zipkin = receiver.zipkin();
    assert_eq!(zipkin.len(), 1 + parts.len());
    let server: Vec<_> = zipkin
        .iter()
        .filter(|span| span["kind"] == "SERVER")
        .collect();
    assert_eq!(server.len(), 1);
    assert_eq!(server[0]["id"], hex(&whole.span_id));
    assert_eq!(server[0]["localEndpoint"]["serviceName"], "netting-webhook");
    assert_eq!(server[0]["tags"]["netting.admission.decision"], "inject");
}

#[tokio::test]
async fn a_request_that_is_refused_says_why_in_its_span() {
    let receiver = Receiver::start().await;
    let telemetry = receiver.telemetry();
    let webhook = Webhook::start_traced(telemetry.tracer.clone()).await;
    let parent = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n");
    let answer = ask(&webhook, &parent, b"{}").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    telemetry.flush(FLUSH).await;
    let (whole, _) = whole_and_parts(receiver.otlp());
    let told = attributes(&whole.attributes);
    assert_eq!(told["netting.admission.decision"], "refuse");
    assert_eq!(told["netting.admission.reason"], "malformed");
    assert_eq!(told["http.response.status_code"], "400");
}

#[tokio::test]
async fn a_request_whose_client_goes_away_is_told_all_the_same() {
    let receiver = Receiver::start().await;
    let telemetry = receiver.telemetry();
    let webhook = Webhook::start_traced(telemetry.tracer.clone()).await;
    let head = format!("content-length: 100\r\ntraceparent: 00-{TRACE}-{CALLER}-01\r\n\r\n{{");
    let mut stream = webhook.tls(Protocol::Http1).await;
    let request = format!("{HEAD}{head}");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("it reads");
    stream.flush().await.expect("it reads");
    webhook.requests_begun(1).await;
    drop(stream);
    webhook.drain.start();
    webhook.stopped().await;
    telemetry.flush(FLUSH).await;
    let (whole, _) = whole_and_parts(receiver.otlp());
    let told = attributes(&whole.attributes);
    assert_eq!(told["netting.admission.reason"], "broke_off", "{told:?}");
}
