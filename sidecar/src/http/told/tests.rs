//! Through both proxies, with real sockets: what is told of requests, and what the
//! application sees of it.

use std::sync::Arc;

use bytes::Bytes;
use clap::Parser as _;
use http::{HeaderMap, Response};
use netting_proto::v1;
use netting_runtime::logging::LogFormat;
use netting_telemetry::{
    Metrics,
    access_log::Record,
    buffer::Buffer,
    trace::{
        Received, Sampler, Span, Tracer,
        span::{Attribute, Kind},
        w3c::TraceParent,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{spawn_local, yield_now},
};

use super::*;
use crate::{
    access_log::AccessLogs,
    allocations,
    args::Args,
    proxy::chain::{Chain, HEAD_BYTES_MAX, Tells, listen},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What both proxies tell.
struct Heard {
    spans: Arc<Buffer<Span>>,
    records: Arc<Buffer<Record>>,
}

fn telling(ratio: &str) -> (Tells, Heard) {
    logging("all", ratio)
}

fn logging(which: &str, ratio: &str) -> (Tells, Heard) {
    let heard = Heard {
        spans: Arc::new(Buffer::new(64)),
        records: Arc::new(Buffer::new(64)),
    };
    let sampler = Sampler::ratio(ratio.parse().expect("it is a ratio"));
    let args = [
        "netting-sidecar",
        &format!("--access-log={which}"),
        "--access-log-to=none",
    ];
    let args = Args::parse_from(args).access_log;
    let metrics = Metrics::new("test", "0");
    let records = Some(Arc::clone(&heard.records));
    let tells = Tells {
        tracer: Some(Tracer::new(sampler, Arc::clone(&heard.spans))),
        access_log: AccessLogs::start(&args, LogFormat::Text, &metrics, records).of_thread(),
    };
    (tells, heard)
}

impl Heard {
    /// Of both proxies, the client's first.
    async fn spans(&self) -> [Span; 2] {
        let mut spans = both(&self.spans).await;
        spans.sort_by_key(|span| span.kind == Kind::Server);
        spans.try_into().expect("there is one of each")
    }
}

/// Waits for as many as both proxies tell of one request.
async fn both<T>(buffer: &Buffer<T>) -> Vec<T> {
    let mut all = Vec::new();
    while all.len() < 2 {
        yield_now().await;
        all.extend(buffer.take().items);
    }
    all
}

fn attribute(attributes: &[Attribute], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    found.map(|attribute| attribute.value.to_string())
}

/// Sends a request through both proxies, and returns the head that the application saw.
async fn http1(tells: &Tells, request: &str) -> String {
    let (app, addr) = listen().await;
    let chain = Chain::telling(addr, tells).await;
    let mut client = chain.connect().await;
    let said = client.write_all(request.as_bytes()).await;
    said.expect("the proxy reads");
    let (mut app, _) = app.accept().await.expect("a proxy connects");
    let head = head(&mut app).await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    app.write_all(answer).await.expect("the proxy reads");
    let mut answered = vec![0; answer.len()];
    let read = client.read_exact(&mut answered).await;
    read.expect("it is answered");
    head
}

async fn head(app: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(app.read_u8().await.expect("there is more"));
    }
    String::from_utf8(head).expect("it is text")
}

#[test]
fn paths_are_without_what_is_not_theirs() {
    for (target, path) in [
        ("", ""),
        ("/", "/"),
        ("/a?token=secret", "/a"),
        ("/a?b=http://c/d", "/a"),
        ("/http://c/d", "/http://c/d"),
        ("http://c/d?e", "/d"),
        ("http://c?e", ""),
        ("http://c", "/"),
        ("*", "*"),
        ("c:443", "c:443"),
    ] {
        let told = Told::of(target.as_bytes());
        assert_eq!(told.path, path.as_bytes(), "{target}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_whose_trace_is_not_kept_goes_through_as_it_is() {
    for fields in [
        String::new(),
        format!("traceparent: 00-{TRACE}-{PARENT}-00\r\ntracestate: a=1\r\n"),
        "TraceParent: 00-0-0-0\r\n".to_owned(),
        "B3: 0\r\n".to_owned(),
    ] {
        let (tells, heard) = telling("0");
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(http1(&tells, &request).await, request);
        both(&heard.records).await;
        assert!(heard.spans.take().items.is_empty());
    }
}

#[tokio::test(flavor = "local")]
async fn each_proxy_is_the_parent_of_what_comes_after_it() {
    let (tells, heard) = telling("0");
    let request = format!(
        "GET /orders?token=secret HTTP/1.1\r\nHost: orders\r\n\
         Traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\nX: y\r\n\r\n"
    );
    let head = http1(&tells, &request).await;
    let [client, server] = heard.spans().await;
    let told = request.replace(PARENT, &server.id.to_string());
    assert_eq!(head, told, "nothing else is changed");
    let parents = [client.parent, server.parent].map(|parent| parent.map(|id| id.to_string()));
    assert_eq!(
        parents,
        [Some(PARENT.to_owned()), Some(client.id.to_string())]
    );
    for span in [&client, &server] {
        assert_eq!(span.trace.to_string(), TRACE);
        assert_eq!(span.state.as_deref(), Some("a=1"));
        assert_eq!(
            attribute(&span.attributes, "url.path").as_deref(),
            Some("/orders")
        );
        let status = attribute(&span.attributes, "http.response.status_code");
        assert_eq!(status.as_deref(), Some("200"));
    }
    let spans = [client.id.bytes(), server.id.bytes()];
    for record in both(&heard.records).await {
        let trace = record.trace.expect("it is part of one");
        assert!(record.sampled && spans.contains(&trace.span), "{record:?}");
        assert!(!record.body.contains("secret"), "{}", record.body);
    }
}

#[tokio::test(flavor = "local")]
async fn a_trace_may_begin_at_the_clients_proxy() {
    let (tells, heard) = telling("1");
    let head = http1(&tells, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let [client, server] = heard.spans().await;
    assert_eq!((client.parent, server.parent), (None, Some(client.id)));
    let added = head
        .lines()
        .find_map(|line| line.strip_prefix("traceparent: "));
    let added = TraceParent::parse(added.unwrap_or_default().as_bytes());
    let added = added.expect("the application is told");
    assert_eq!((added.trace, added.span), (client.trace, server.id));
}

/// Calls an application, through both proxies, that ends with this status, and returns
/// the fields that it saw.
async fn grpc_call(tells: &Tells, fields: &[(&str, &str)], status: &'static str) -> HeaderMap {
    let (listener, addr) = listen().await;
    let (seen, mut saw) = unbounded_channel::<HeaderMap>();
    spawn_local(async move {
        let (stream, _) = listener.accept().await.expect("a proxy connects");
        let mut connection = h2::server::handshake(stream).await.expect("it speaks");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            seen.send(request.headers().clone())
                .expect("the test reads");
            let response = Response::builder().header("grpc-status", status).body(());
            let sent = respond.send_response(response.expect("it is good"), true);
            sent.expect("it is connected");
        }
    });
    let chain = Chain::telling(addr, tells).await;
    let (client, connection) = h2::client::handshake(chain.connect().await)
        .await
        .expect("it speaks");
    spawn_local(connection);
    let request = http::Request::post("http://orders/shop.Orders/Get")
        .header("content-type", "application/grpc");
    let request = fields.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let mut client: h2::client::SendRequest<Bytes> = client.ready().await.expect("it takes one");
    let request = request.body(()).expect("it is good");
    let (response, _) = client.send_request(request, true).expect("it takes one");
    response.await.expect("it is answered");
    saw.recv().await.expect("it was called")
}

#[tokio::test(flavor = "local")]
async fn a_call_over_http2_is_continued_in_b3() {
    let (tells, heard) = telling("0");
    let fields = [
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", PARENT),
        ("x-b3-sampled", "1"),
    ];
    let saw = grpc_call(&tells, &fields, "5").await;
    let [client, server] = heard.spans().await;
    assert_eq!(server.parent, Some(client.id));
    assert_eq!(
        client.parent.map(|id| id.to_string()).as_deref(),
        Some(PARENT)
    );
    assert_eq!(saw["x-b3-spanid"], server.id.to_string());
    assert_eq!(
        (saw.get("traceparent"), &saw["x-b3-traceid"]),
        (None, &TRACE.parse().expect("it is text"))
    );
    assert_eq!(client.name, "shop.Orders/Get");
    assert_eq!(
        (client.failed, server.failed),
        (Some(""), None),
        "NOT_FOUND is the caller's doing"
    );
    for span in [&client, &server] {
        let status = attribute(&span.attributes, "rpc.response.status_code");
        assert_eq!(status.as_deref(), Some("NOT_FOUND"));
    }
}

#[tokio::test(flavor = "local")]
async fn a_call_that_the_application_failed_is_an_error_in_the_log() {
    for (status, failed) in [
        ("0", false),
        ("2", true),
        ("5", false),
        ("13", true),
        ("14", true),
    ] {
        let (tells, heard) = logging("errors", "1");
        grpc_call(&tells, &[], status).await;
        heard.spans().await;
        let records = heard.records.take().items;
        assert_eq!(records.len(), if failed { 2 } else { 0 }, "{status}");
        assert!(records.iter().all(|record| record.failed), "{records:?}");
    }
}

/// An endpoint that is always busy, and passes on what it was asked.
async fn busy(seen: UnboundedSender<String>) -> SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            spawn_local(async move {
                seen.send(head(&mut stream).await).expect("the test reads");
                let answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.write_all(answer).await;
            });
        }
    });
    addr
}

/// The same over HTTP/2.
async fn busy_over_http2(seen: UnboundedSender<String>) -> SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = seen.clone();
            spawn_local(async move {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let parent = request.headers()["traceparent"].to_str();
                    let parent = parent.expect("it is text");
                    seen.send(format!("traceparent: {parent}\r\n"))
                        .expect("the test reads");
                    let response = Response::builder().status(503).body(());
                    let sent = respond.send_response(response.expect("it is good"), true);
                    sent.expect("it is connected");
                }
            });
        }
    });
    addr
}

/// The client's proxy before two endpoints, one of which is tried after the other.
async fn trying(endpoints: [SocketAddr; 2], tells: &Tells) -> Chain {
    let policy = v1::ServicePolicy {
        retry_on: Some(v1::RetryOn {
            reset: true,
            statuses: vec![503],
            grpc_codes: vec![],
        }),
        eject_after: Some(0),
        ..Default::default()
    };
    Chain::to_service_telling(&endpoints, policy, None, tells).await
}

/// Three tries that failed: each a span of its own, the endpoints know of their own one,
/// and all have the same parent.
fn assert_tries(spans: &[Span], seen: &mut UnboundedReceiver<String>) {
    assert_eq!(spans.len(), 3, "{spans:?}");
    for (index, span) in spans.iter().enumerate() {
        let said = seen.try_recv().expect("each try was seen");
        let parent = format!("traceparent: 00-{TRACE}-{}-01\r\n", span.id);
        assert!(said.contains(&parent), "{said} has no {parent}");
        assert_eq!(span.kind, Kind::Client);
        assert_eq!(span.trace.to_string(), TRACE);
        let parent = span.parent.map(|id| id.to_string());
        assert_eq!(parent.as_deref(), Some(PARENT));
        let resent = attribute(&span.attributes, "http.request.resend_count");
        assert_eq!(resent, (index > 0).then(|| index.to_string()));
        for key in ["error.type", "http.response.status_code"] {
            let status = attribute(&span.attributes, key);
            assert_eq!(status.as_deref(), Some("503"), "{key}");
        }
        assert_eq!((span.failed, span.remote.is_some()), (Some(""), true));
        assert!(index == 0 || span.begun >= spans[index - 1].begun);
    }
    assert_ne!(spans[0].remote, spans[1].remote, "at another endpoint");
    assert!(seen.try_recv().is_err(), "it was sent three times");
}

#[tokio::test(flavor = "local")]
async fn each_try_is_a_span_of_its_own() {
    let (tells, heard) = telling("0");
    let (seen, mut saw) = unbounded_channel();
    let endpoints = [busy(seen.clone()).await, busy(seen).await];
    let chain = trying(endpoints, &tells).await;
    let mut client = chain.connect().await;
    let request = format!(
        "PUT / HTTP/1.1\r\nHost: a\r\nTraceparent: 00-{TRACE}-{PARENT}-01\r\n\
         Content-Length: 5\r\nConnection: close\r\n\r\nhello"
    );
    let asked = client.write_all(request.as_bytes()).await;
    asked.expect("the proxy reads");
    let mut answer = String::new();
    let answered = client.read_to_string(&mut answer).await;
    answered.expect("it is answered");
    let mut heads = unbounded_channel();
    while let Ok(head) = saw.try_recv() {
        heads.0.send(head.to_lowercase()).expect("it is open");
    }
    assert_tries(&heard.spans.take().items, &mut heads.1);
}

#[tokio::test(flavor = "local")]
async fn each_try_over_http2_is_a_span_of_its_own() {
    let (tells, heard) = telling("0");
    let (seen, mut saw) = unbounded_channel();
    let endpoints = [
        busy_over_http2(seen.clone()).await,
        busy_over_http2(seen).await,
    ];
    let chain = trying(endpoints, &tells).await;
    let (client, connection) = h2::client::handshake(chain.connect().await)
        .await
        .expect("it speaks");
    spawn_local(connection);
    let mut client: h2::client::SendRequest<Bytes> = client.ready().await.expect("it takes one");
    let request = http::Request::put("http://a/")
        .header("traceparent", format!("00-{TRACE}-{PARENT}-01"))
        .body(())
        .expect("it is good");
    let (response, _) = client.send_request(request, true).expect("it takes one");
    let response = response.await.expect("it is answered");
    assert_eq!(response.status(), 503);
    let mut spans = Vec::new();
    while spans.len() < 3 {
        yield_now().await;
        spans.extend(heard.spans.take().items);
    }
    assert_tries(&spans, &mut saw);
}

#[tokio::test(flavor = "local")]
async fn a_try_that_found_nobody_is_told_with_its_reason() {
    let (tells, heard) = telling("1");
    let gone = SocketAddr::from(([10, 0, 0, 9], 80));
    let chain = trying([gone, gone], &tells).await;
    let tracer = tells.tracer.as_ref().expect("it tells");
    let mut span = tracer.begin(&Received::default()).expect("all are kept");
    let first = span.clone();
    let tried = Try {
        client: ClientAddr(gone),
        method: Method::Get,
        version: Version::Http11,
        call: None,
        resent: 0,
        failed: FailedTry::unanswered(gone, Reason::ConnectRefused),
    };
    let told = Told::of(b"/");
    assert!(chain.outbound.proxy.tell_try(&mut span, &told, &tried));
    let spans = heard.spans.take().items;
    let [unreached] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!((unreached.id, unreached.trace), (first.span, span.trace));
    assert_ne!(span.span, first.span, "the next try has one of its own");
    assert_eq!(unreached.failed, Some("connect_refused"));
    assert_eq!(unreached.remote, Some(gone));
    for (key, value) in [
        ("error.type", Some("connect_refused")),
        ("http.response.status_code", None),
    ] {
        assert_eq!(attribute(&unreached.attributes, key).as_deref(), value);
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_refused_while_it_is_read_is_told_without_what_it_says() {
    let long = format!("X: {}\r\n", "x".repeat(HEAD_BYTES_MAX));
    for (fields, status, reason) in [
        ("Host: b\r\n", "400", "request_malformed"),
        (&long, "431", "request_head_too_large"),
    ] {
        let (tells, heard) = telling("1");
        let chain = Chain::telling(([127, 0, 0, 1], 1).into(), &tells).await;
        let mut client = chain.connect().await;
        let request = format!("GET /secret HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let said = client.write_all(request.as_bytes()).await;
        said.expect("the proxy reads");
        let mut answer = String::new();
        let answered = client.read_to_string(&mut answer).await;
        answered.expect("it is answered");
        let records = heard.records.take().items;
        let [Record { body, .. }] = &records[..] else {
            panic!("{records:?}");
        };
        assert!(body.contains("\"- -\""), "{body}");
        assert!(body.contains(status) && body.contains(reason), "{body}");
        let refused = [r#"direction="outbound""#, &format!("reason=\"{reason}\"")];
        let refused = chain.count("netting_tcp_connections_refused_total", &refused);
        assert_eq!(refused, 1, "{}", chain.metrics.expose());
    }
}

/// How often both proxies, the client and the application take memory for a hundred
/// requests over connections that are open already.
async fn memory_taken(tells: &Tells, fields: &str) -> u64 {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (app, addr) = listen().await;
    let chain = Chain::telling(addr, tells).await;
    spawn_local(async move {
        let (mut app, _) = app.accept().await.expect("a proxy connects");
        let mut request = [0; 1024];
        let mut length = 0;
        while let Ok(read @ 1..) = app.read(&mut request[length..]).await {
            length += read;
            if request[..length].ends_with(b"\r\n\r\n") {
                length = 0;
                app.write_all(ANSWER).await.expect("the proxy reads");
            }
        }
    });
    let mut client = chain.connect().await;
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut answer = [0; ANSWER.len()];
    let mut before = 0;
    for round in 0..200 {
        if round == 100 {
            before = allocations::count();
        }
        let said = client.write_all(request.as_bytes()).await;
        said.expect("the proxy reads");
        let read = client.read_exact(&mut answer).await;
        read.expect("it is answered");
    }
    allocations::count() - before
}

#[tokio::test(flavor = "local")]
async fn what_is_not_told_costs_no_memory() {
    let parent = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=1\r\n");
    let nobody = Tells::default();
    assert_eq!(
        memory_taken(&nobody, &parent).await,
        0,
        "where no exporter takes spans"
    );
    let (tells, heard) = telling("0");
    let traced = Tells {
        tracer: tells.tracer,
        ..Tells::default()
    };
    assert_eq!(memory_taken(&traced, "").await, 0, "where no trace is kept");
    let unsampled = parent.replace("-01\r", "-00\r");
    assert_eq!(memory_taken(&traced, &unsampled).await, 0, "nor was before");
    assert!(
        memory_taken(&traced, &parent).await > 0,
        "a span takes some"
    );
    drop(heard);
}
