//! Connections to an address that the catalog has not told of when they begin.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use netting_proto::v1;
use netting_telemetry::{
    buffer::Buffer,
    trace::{Sampler, Tracer},
};

use super::{chain::listen, *};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// No proxy that looks into HTTP passes it on.
const NO_REQUEST: &str = "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi";

const PASSED: &str = r#"netting_tcp_connections_passed_through_total{direction="outbound",reason="catalog_unavailable"} 1"#;

/// Where the client connects to, which is not the pod's own address.
async fn original() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.2:0").await.expect("a free port");
    let addr = listener.local_addr();
    (listener, addr.expect("it is bound"))
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.expect("the sidecar connects").0
}

async fn say(stream: &mut TcpStream, text: &str) {
    let said = stream.write_all(text.as_bytes()).await;
    said.expect("the connection holds");
}

async fn hear(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    let read = stream.read_exact(&mut heard).await;
    read.expect("the connection holds");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// A request over a connection of HTTP/1, which comes to this upstream.
async fn goes(client: &mut TcpStream, upstream: &mut TcpStream) {
    say(client, GET).await;
    hear(upstream, GET).await;
    answered(upstream, client).await;
}

async fn answered(upstream: &mut TcpStream, client: &mut TcpStream) {
    say(upstream, OK).await;
    hear(client, OK).await;
}

/// A connection to `addr`, and where its first request has come to.
async fn begun(fixture: &Fixture, app: &TcpListener, addr: SocketAddr) -> (TcpStream, TcpStream) {
    let mut client = fixture.connection(Some(addr)).await;
    let upstream = next(&mut client, app).await;
    (client, upstream)
}

/// Where the next request comes to.
async fn next(client: &mut TcpStream, listener: &TcpListener) -> TcpStream {
    say(client, GET).await;
    let mut upstream = accept(listener).await;
    hear(&mut upstream, GET).await;
    upstream
}

/// Requests that were counted of the service.
fn to_reviews(fixture: &Fixture) -> u64 {
    let exposition = fixture.metrics.expose();
    let counted = exposition.lines().filter(|line| {
        line.starts_with("http_client_request_duration_seconds_count{")
            && line.contains(r#"service_peer_name="reviews""#)
    });
    let value = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
    counted.filter_map(value).sum()
}

#[tokio::test(flavor = "local")]
async fn requests_are_balanced_from_when_the_catalog_is_back() {
    let fixture = fixture();
    let ((app, addr), (other, endpoint)) = (original().await, listen().await);
    let (mut client, mut first) = begun(&fixture, &app, addr).await;
    answered(&mut first, &mut client).await;
    goes(&mut client, &mut first).await;
    assert!(fixture.has(PASSED), "{}", fixture.metrics.expose());
    know(&fixture.outbound.view, addr, &[endpoint]);
    let mut second = next(&mut client, &other).await;
    answered(&mut second, &mut client).await;
    // Nobody needs it any more.
    assert_eq!(first.read(&mut [0]).await.expect("a clean end"), 0);
    goes(&mut client, &mut second).await;
    while to_reviews(&fixture) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(to_reviews(&fixture), 2, "{}", fixture.metrics.expose());
}

#[tokio::test(flavor = "local")]
async fn nothing_is_added_to_a_request_before_it_is_known_where_it_goes() {
    let mut fixture = fixture();
    let sampler = Sampler::ratio("1".parse().expect("it is a ratio"));
    fixture.outbound.proxy.tracer = Some(Tracer::new(sampler, Arc::new(Buffer::new(8))));
    let ((app, addr), (other, endpoint)) = (original().await, listen().await);
    let (mut client, mut first) = begun(&fixture, &app, addr).await;
    answered(&mut first, &mut client).await;
    know(&fixture.outbound.view, addr, &[endpoint]);
    say(&mut client, GET).await;
    let mut second = accept(&other).await;
    hear(&mut second, "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: ").await;
}

/// A server of HTTP/2 that says with each response which it is.
async fn serve(listener: TcpListener, name: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        spawn_local(async move {
            let mut connection = h2::server::handshake(stream).await.expect("it speaks");
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let response = http::Response::builder().header("server", name);
                let response = response.body(()).expect("a good response");
                let sent = respond.send_response(response, true);
                sent.expect("the connection holds");
            }
        });
    }
}

/// Which server answers.
async fn server(client: &mut SendRequest<Bytes>) -> String {
    let request = Request::get("http://a/").body(()).expect("a good request");
    let sent = client.send_request(request, true);
    let (response, _) = sent.expect("the connection holds");
    let response = response.await.expect("it is answered");
    let name = response.headers()["server"].to_str();
    name.expect("it is text").to_owned()
}

#[tokio::test(flavor = "local")]
async fn streams_are_balanced_from_when_the_catalog_is_back() {
    let fixture = fixture();
    let ((app, addr), (other, endpoint)) = (original().await, listen().await);
    spawn_local(serve(app, "original"));
    spawn_local(serve(other, "endpoint"));
    let stream = fixture.connection(Some(addr)).await;
    let (mut client, connection) = h2::client::handshake(stream).await.expect("it speaks");
    let connection = spawn_local(connection);
    for _ in 0..2 {
        assert_eq!(server(&mut client).await, "original");
    }
    assert!(fixture.has(PASSED), "{}", fixture.metrics.expose());
    know(&fixture.outbound.view, addr, &[endpoint]);
    for _ in 0..2 {
        assert_eq!(server(&mut client).await, "endpoint");
    }
    while to_reviews(&fixture) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(to_reviews(&fixture), 2, "{}", fixture.metrics.expose());
    assert!(!connection.is_finished(), "it is the same");
}

#[tokio::test(flavor = "local")]
async fn an_address_that_turns_out_to_be_unknown_stays_where_it_is() {
    let fixture = fixture();
    let (app, addr) = original().await;
    let (mut client, mut upstream) = begun(&fixture, &app, addr).await;
    let unknown = v1::Unknown {
        address: Some(addr.into()),
        ..Default::default()
    };
    let view = &fixture.outbound.view;
    view.unknown(&unknown).expect("a good message");
    answered(&mut upstream, &mut client).await;
    goes(&mut client, &mut upstream).await;
    // Both ends are the client's and the server's to choose, as without a sidecar.
    drop(upstream);
    assert_eq!(answer(client).await.expect("a clean end"), "");
    let mut opaque = fixture.connection(Some(addr)).await;
    say(&mut opaque, NO_REQUEST).await;
    hear(&mut accept(&app).await, NO_REQUEST).await;
}

#[tokio::test(flavor = "local")]
async fn what_turns_out_to_be_opaque_stays_where_it_is() {
    let fixture = fixture();
    let (app, addr) = original().await;
    let (mut client, mut upstream) = begun(&fixture, &app, addr).await;
    let (_other, endpoint) = listen().await;
    let opaque = v1::Snapshot {
        address: Some(addr.into()),
        destination: Some(v1::Destination {
            protocol_hint: "tcp".to_owned(),
            ..Default::default()
        }),
        endpoints: vec![v1::Endpoint {
            address: Some(endpoint.into()),
            ready: true,
            ..Default::default()
        }],
        ..Default::default()
    };
    let view = &fixture.outbound.view;
    view.snapshot(opaque).expect("a good snapshot");
    answered(&mut upstream, &mut client).await;
    goes(&mut client, &mut upstream).await;
}

#[tokio::test(flavor = "local")]
async fn what_is_no_request_is_passed_on_as_it_is() {
    let large = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(chain::HEAD_BYTES_MAX));
    for said in [NO_REQUEST, &large] {
        let fixture = fixture();
        let (app, addr) = original().await;
        let (mut client, mut upstream) = begun(&fixture, &app, addr).await;
        answered(&mut upstream, &mut client).await;
        say(&mut client, said).await;
        hear(&mut upstream, said).await;
        for word in ["as ", "it ", "likes"] {
            say(&mut upstream, word).await;
            hear(&mut client, word).await;
        }
        drop(upstream);
        assert_eq!(answer(client).await.expect("a clean end"), "");
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_no_response_or_another_sidecars_is_passed_on_as_it_is() {
    let streamed = "ICY 200 OK\r\nicy-name: radio\r\n\r\nmusic";
    let unreached = "HTTP/1.1 502 Bad Gateway\r\nproxy-status: netting; \
        error=connection_refused\r\nContent-Length: 0\r\n\r\n";
    for said in [streamed, unreached] {
        let fixture = fixture();
        let (app, addr) = original().await;
        let (mut client, mut upstream) = begun(&fixture, &app, addr).await;
        say(&mut upstream, said).await;
        hear(&mut client, said).await;
        drop(upstream);
        assert_eq!(answer(client).await.expect("a clean end"), "");
    }
}

#[tokio::test(flavor = "local")]
async fn what_began_slowly_and_is_no_request_is_passed_on_once() {
    let fixture = fixture();
    let (app, addr) = original().await;
    let mut client = fixture.connection(Some(addr)).await;
    let (early, late) = NO_REQUEST.split_at(5);
    say(&mut client, early).await;
    let mut upstream = accept(&app).await;
    hear(&mut upstream, early).await;
    say(&mut client, late).await;
    hear(&mut upstream, late).await;
    drop(client);
    assert_eq!(upstream.read(&mut [0]).await.expect("a clean end"), 0);
}

#[tokio::test(flavor = "local")]
async fn a_request_to_where_nobody_listens_is_reset_as_a_connection_is() {
    let fixture = fixture();
    let (gone, addr) = original().await;
    drop(gone);
    let mut client = fixture.connection(Some(addr)).await;
    say(&mut client, GET).await;
    assert!(is_reset(client).await);
}
