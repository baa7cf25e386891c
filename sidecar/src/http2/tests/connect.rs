//! Other protocols over HTTP/2 (RFC 8441), such as WebSocket.

use h2::ext::Protocol;
use netting_proto::v1;

use super::{policy::before, rules::SETTINGS, *};

/// Through both proxies, to an application that echoes, and offers this or does not.
async fn echo(offers: bool) -> Chain {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut server = h2::server::Builder::new();
            if offers {
                server.enable_connect_protocol();
            }
            let handshake = server.handshake::<_, Bytes>(stream);
            let mut connection = handshake.await.expect("it speaks");
            spawn_local(async move {
                while let Some(Ok((request, respond))) = connection.accept().await {
                    spawn_local(answer(request, respond));
                }
            });
        }
    });
    Chain::before(addr).await
}

async fn answer(request: Request<RecvStream>, mut respond: Responder) {
    let protocol = request.extensions().get::<Protocol>();
    let protocol = protocol.map_or("none", |protocol| protocol.as_str());
    let head = Response::builder().header("x-protocol", protocol);
    let head = head.body(()).expect("a good response");
    let mut sink = respond.send_response(head, false).expect("it is connected");
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        sink.send_data(data, false).expect("it is connected");
    }
    let _ = sink.send_data(Bytes::new(), true);
}

/// A client that has been told that it may ask for other protocols.
async fn told(chain: &Chain) -> SendRequest<Bytes> {
    let client = client(chain).await;
    while !client.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    client
}

fn websocket() -> Request<()> {
    let request = Request::connect("http://app/chat").extension(Protocol::from_static("websocket"));
    request.body(()).expect("a good request")
}

#[tokio::test(flavor = "local")]
async fn an_upstream_that_does_not_offer_it_is_not_asked() {
    let chain = echo(false).await;
    let mut client = told(&chain).await;
    let (response, sink) = client
        .send_request(websocket(), false)
        .expect("it is connected");
    let response = response.await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(
        response.headers()["proxy-status"],
        "netting; error=http_protocol_error; details=\"connect_protocol_unsupported\""
    );
    drop(sink);
}

#[tokio::test(flavor = "local")]
async fn a_conversation_goes_through_if_it_is_offered() {
    let chain = echo(true).await;
    let mut client = told(&chain).await;
    let (response, mut sink) = client
        .send_request(websocket(), false)
        .expect("it is connected");
    let response = response.await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-protocol"], "websocket");
    let mut body = response.into_body();
    for said in ["one", "two"] {
        let sent = sink.send_data(said.into(), false);
        sent.expect("it is connected");
        let heard = body.data().await.expect("it goes on").expect("it is whole");
        assert_eq!(heard, said);
    }
    sink.send_data(Bytes::new(), true).expect("it is connected");
    assert!(
        body.data()
            .await
            .is_none_or(|last| last.is_ok_and(|last| last.is_empty()))
    );
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_to_a_port_goes_through_without_being_offered() {
    let chain = echo(false).await;
    let mut client = client(&chain).await;
    let request = Request::connect("app:443").body(());
    let (response, mut sink) = client
        .send_request(request.expect("a good request"), false)
        .expect("it is connected");
    let response = response.await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-protocol"], "none");
    let mut body = response.into_body();
    let sent = sink.send_data("hello".into(), false);
    sent.expect("it is connected");
    let heard = body.data().await.expect("it goes on").expect("it is whole");
    assert_eq!(heard, "hello");
}

/// What an upstream that offers other protocols says first.
fn offer() -> Vec<u8> {
    const ENABLE_CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];
    rules::frame(SETTINGS, 0, 0, &ENABLE_CONNECT_PROTOCOL)
}

#[tokio::test(flavor = "local")]
async fn an_upstream_that_does_not_say_in_time_what_it_offers_is_late() {
    let (listener, addr) = listen().await;
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(300),
        ..Default::default()
    };
    let chain = before(&[addr], impatient).await;
    let mut client = told(&chain).await;
    let response = ask(&mut client, websocket()).await;
    let response = response.expect("it is answered");
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(
        response.headers()["proxy-status"],
        "netting; error=http_response_timeout; details=\"response_timeout\""
    );
    drop(listener);
}

#[tokio::test(flavor = "local")]
async fn an_upstream_that_ends_before_it_says_what_it_offers_is_asked_again() {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        let (mut first, _) = listener.accept().await.expect("the proxy connects");
        let mut preface = [0; 24];
        let read = first.read_exact(&mut preface).await;
        read.expect("the proxy speaks first");
        drop(first);
        let (second, _) = listener.accept().await.expect("the proxy connects again");
        let mut server = h2::server::Builder::new();
        let server = server.enable_connect_protocol().handshake(second);
        let mut connection = server.await.expect("it speaks");
        while let Some(Ok((_, respond))) = connection.accept().await {
            respond_ok(respond);
        }
    });
    let chain = before(&[addr], v1::ServicePolicy::default()).await;
    let mut client = told(&chain).await;
    let response = ask(&mut client, websocket()).await;
    assert_eq!(response.expect("it is answered").status(), StatusCode::OK);
    assert_eq!(chain.retries("stream_refused"), 1);
}

#[tokio::test(flavor = "local")]
async fn half_of_what_an_upstream_offers_says_nothing_yet() {
    let (listener, addr) = listen().await;
    let (asked, is_asked) = tokio::sync::oneshot::channel();
    spawn_local(async move {
        let (mut stream, _) = listener.accept().await.expect("the proxy connects");
        let offer = offer();
        let (early, late) = offer.split_at(7);
        stream.write_all(early).await.expect("it is connected");
        let mut preface = [0; 24];
        let read = stream.read_exact(&mut preface).await;
        read.expect("the proxy speaks first");
        is_asked.await.expect("it goes on");
        stream.write_all(late).await.expect("it is connected");
        while let Ok((kind, _)) = rules::next_frame(&mut stream).await {
            if kind == rules::HEADERS {
                let end = rules::frame(rules::HEADERS, 5, 1, &[0x88]);
                stream.write_all(&end).await.expect("it is connected");
            }
        }
    });
    let chain = before(&[addr], v1::ServicePolicy::default()).await;
    let mut client = told(&chain).await;
    let response = ask(&mut client, websocket());
    tokio::pin!(response);
    let soon = std::time::Duration::from_millis(50);
    let early = tokio::time::timeout(soon, &mut response).await;
    assert!(early.is_err(), "it has not said all: {early:?}");
    asked.send(()).expect("it waits");
    assert_eq!(
        response.await.expect("it is answered").status(),
        StatusCode::OK
    );
}

#[tokio::test(flavor = "local")]
async fn a_client_that_resets_is_not_kept_waiting_for_what_an_upstream_offers() {
    let (listener, addr) = listen().await;
    let chain = before(&[addr], v1::ServicePolicy::default()).await;
    let mut client = told(&chain).await;
    let (response, mut sink) = client
        .send_request(websocket(), false)
        .expect("it is connected");
    let (upstream, _) = listener.accept().await.expect("the proxy connects");
    sink.send_reset(Code::CANCEL);
    drop(response);
    let cancelled = [r#"error_type="downstream_reset""#];
    while chain.requests(&cancelled) < 1 {
        tokio::task::yield_now().await;
    }
    drop(upstream);
}
