//! Through both proxies, with real sockets, by the same library on both ends.

use std::{cell::Cell, future::poll_fn, rc::Rc};

use bytes::Bytes;
use h2::{Reason as Code, RecvStream, SendStream, client::SendRequest, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::spawn_local,
};

use crate::proxy::chain::{Chain, listen};

mod authority;
mod cancelled;
mod connect;
mod draining;
mod early;
mod empty;
mod keepalive;
mod limits;
mod policy;
mod rules;
mod upstream;

type Responder = SendResponse<Bytes>;

/// An application that treats each stream so, and how many connections it has had.
async fn app<F>(
    handle: impl Fn(Request<RecvStream>, Responder) -> F + 'static,
) -> (Chain, Rc<Cell<usize>>)
where
    F: Future<Output = ()> + 'static,
{
    let (listener, addr) = listen().await;
    let connections = Rc::new(Cell::new(0));
    let count = Rc::clone(&connections);
    let handle = Rc::new(handle);
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.set(count.get() + 1);
            let handle = Rc::clone(&handle);
            spawn_local(async move {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    spawn_local(handle(request, respond));
                }
            });
        }
    });
    (Chain::before(addr).await, connections)
}

async fn client(chain: &Chain) -> SendRequest<Bytes> {
    let stream = chain.connect().await;
    let (client, connection) = h2::client::handshake(stream).await.expect("it speaks");
    spawn_local(async move {
        let _ = connection.await;
    });
    client
}

fn post(path: &str) -> Request<()> {
    let uri = format!("http://app{path}");
    let request = Request::post(uri).header("x-kept", "as it is");
    request.body(()).expect("a good request")
}

async fn ask(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|cx| client.poll_ready(cx)).await?;
    let (response, _) = client.send_request(request, true)?;
    response.await
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Sends as the window allows, until all is sent or the stream is reset.
async fn write(sink: &mut SendStream<Bytes>, mut data: Bytes, passed: &Cell<usize>) {
    while !data.is_empty() {
        sink.reserve_capacity(data.len().min(16 * 1024));
        let Some(Ok(room)) = poll_fn(|cx| sink.poll_capacity(cx)).await else {
            return;
        };
        let part = data.split_to(data.len().min(room));
        passed.set(passed.get() + part.len());
        if sink.send_data(part, false).is_err() {
            return;
        }
    }
}

fn ok() -> Response<()> {
    Response::new(())
}

fn respond_ok(mut respond: Responder) {
    respond.send_response(ok(), true).expect("it is connected");
}

fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, HeaderValue::from_static(value));
    trailers
}

#[tokio::test(flavor = "local")]
async fn messages_go_through_with_their_trailers() {
    let (chain, _) = app(
        async |request: Request<RecvStream>, mut respond: Responder| {
            let (head, mut body) = request.into_parts();
            assert_eq!(head.uri, "http://app/echo?a=b");
            assert_eq!(head.headers["x-kept"], "as it is");
            let said = read(&mut body).await.expect("it is sent");
            let ended = body.trailers().await.expect("they are sent");
            assert_eq!(ended.expect("there are some")["checksum"], "1");
            let hint = Response::builder().status(103).header("link", "</a>");
            let hint = hint.body(()).expect("a good response");
            respond.send_informational(hint).expect("it is connected");
            let response = Response::builder().status(201).header("server", "mine");
            let response = response.body(()).expect("a good response");
            let mut sink = respond
                .send_response(response, false)
                .expect("it is connected");
            sink.send_data(said.into(), false).expect("it is connected");
            let trailers = trailers("grpc-status", "0");
            sink.send_trailers(trailers).expect("it is connected");
        },
    )
    .await;
    let mut client = client(&chain).await;
    let mut request = post("/echo?a=b");
    let kind = HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", kind);
    let (mut response, mut sink) = client
        .send_request(request, false)
        .expect("it is connected");
    sink.send_data("hello".into(), false)
        .expect("it is connected");
    let checksum = trailers("checksum", "1");
    sink.send_trailers(checksum).expect("it is connected");
    let hint = poll_fn(|cx| response.poll_informational(cx)).await;
    let hint = hint.expect("there is one").expect("it is good");
    assert_eq!(hint.headers()["link"], "</a>");
    let response = response.await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers().len(), 1, "{:?}", response.headers());
    let mut body = response.into_body();
    assert_eq!(read(&mut body).await.expect("all of it"), b"hello");
    let ended = body.trailers().await.expect("all of it");
    assert_eq!(ended.expect("there are some")["grpc-status"], "0");
    let calls = "rpc_client_call_duration_seconds_count";
    while chain.count(calls, &[r#"rpc_response_status_code="OK""#]) < 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local")]
async fn both_sides_can_speak_at_once() {
    let (chain, _) = app(
        async |request: Request<RecvStream>, mut respond: Responder| {
            let mut body = request.into_body();
            let mut sink = respond.send_response(ok(), false).expect("it is connected");
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                sink.send_data(data, false).expect("it is connected");
            }
            sink.send_data(Bytes::new(), true).expect("it is connected");
        },
    )
    .await;
    let mut client = client(&chain).await;
    let (response, mut sink) = client
        .send_request(post("/"), false)
        .expect("it is connected");
    let mut body = response.await.expect("it is answered").into_body();
    for _ in 0..3 {
        sink.send_data("ping".into(), false)
            .expect("it is connected");
        let echo = body
            .data()
            .await
            .expect("there is more")
            .expect("it is good");
        assert_eq!(echo, "ping");
    }
    sink.send_data(Bytes::new(), true).expect("it is connected");
    assert_eq!(read(&mut body).await.expect("a clean end"), b"");
}

#[tokio::test(flavor = "local")]
async fn streams_share_connections() {
    let (chain, connections) = app(async |_, respond| respond_ok(respond)).await;
    let mut client = client(&chain).await;
    let mut responses = Vec::new();
    for _ in 0..50 {
        let (response, _) = client
            .send_request(post("/"), true)
            .expect("it is connected");
        responses.push(response);
    }
    for response in responses {
        assert_eq!(
            response.await.expect("it is answered").status(),
            StatusCode::OK
        );
    }
    assert_eq!(connections.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_refused_stream_is_sent_again() {
    let refusals = Rc::new(Cell::new(0));
    let seen = Rc::clone(&refusals);
    let (chain, _) = app(move |_, mut respond| {
        seen.set(seen.get() + 1);
        let is_first = seen.get() == 1;
        async move {
            if is_first {
                respond.send_reset(Code::REFUSED_STREAM);
            } else {
                respond_ok(respond);
            }
        }
    })
    .await;
    let response = ask(&mut client(&chain).await, post("/")).await;
    assert_eq!(response.expect("it is answered").status(), StatusCode::OK);
    assert_eq!(refusals.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn resets_go_through_with_their_code() {
    let (chain, _) = app(
        async |request: Request<RecvStream>, mut respond: Responder| {
            if request.uri().path() == "/late" {
                let mut sink = respond.send_response(ok(), false).expect("it is connected");
                sink.send_data("some".into(), false)
                    .expect("it is connected");
                // Only data that has arrived is sure not to be overtaken.
                request.into_body().data().await;
                sink.send_reset(Code::INADEQUATE_SECURITY);
            } else {
                respond.send_reset(Code::INTERNAL_ERROR);
            }
        },
    )
    .await;
    let mut client = client(&chain).await;
    let error = ask(&mut client, post("/")).await.expect_err("it is reset");
    assert_eq!(error.reason(), Some(Code::INTERNAL_ERROR));
    let (response, mut sink) = client
        .send_request(post("/late"), false)
        .expect("it is connected");
    let mut body = response.await.expect("it is answered").into_body();
    assert_eq!(body.data().await.expect("some").expect("good"), "some");
    sink.send_data("go".into(), false).expect("it is connected");
    let error = body.data().await.expect("more").expect_err("it is reset");
    assert_eq!(error.reason(), Some(Code::INADEQUATE_SECURITY));
}

#[tokio::test(flavor = "local")]
async fn a_client_that_resets_is_noticed_by_the_application() {
    let resets = Rc::new(Cell::new(None));
    let seen = Rc::clone(&resets);
    let (chain, _) = app(move |_, mut respond| {
        let seen = Rc::clone(&seen);
        async move {
            let reset = poll_fn(|cx| respond.poll_reset(cx)).await;
            seen.set(reset.ok());
        }
    })
    .await;
    let mut client = client(&chain).await;
    let (_response, mut sink) = client
        .send_request(post("/"), false)
        .expect("it is connected");
    sink.send_data("x".into(), false).expect("it is connected");
    tokio::task::yield_now().await;
    sink.send_reset(Code::CANCEL);
    while resets.get().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(resets.get(), Some(Code::CANCEL));
}

#[tokio::test(flavor = "local")]
async fn a_slow_reader_slows_its_writer_and_nobody_else() {
    const ALL: usize = 64 * 1024 * 1024;
    let passed = Rc::new(Cell::new(0));
    let count = Rc::clone(&passed);
    let (chain, _) = app(
        move |request: Request<RecvStream>, mut respond: Responder| {
            let count = Rc::clone(&count);
            async move {
                if request.uri().path() != "/slow" {
                    return respond_ok(respond);
                }
                let mut sink = respond.send_response(ok(), false).expect("it is connected");
                write(&mut sink, vec![7; ALL].into(), &count).await;
            }
        },
    )
    .await;
    let mut client = client(&chain).await;
    let slow = ask(&mut client, post("/slow"))
        .await
        .expect("it is answered");
    let mut before = usize::MAX;
    while before != passed.get() {
        before = passed.get();
        for _ in 0..20 {
            let fast = ask(&mut client, post("/fast")).await;
            assert_eq!(fast.expect("it is answered").status(), StatusCode::OK);
        }
    }
    let held = passed.get();
    assert!(held < 4 * 1024 * 1024, "{held} bytes are on their way");
    drop(slow);
}

#[tokio::test(flavor = "local")]
async fn an_application_that_says_goaway_gets_no_more_streams() {
    let (listener, addr) = listen().await;
    let connections = Rc::new(Cell::new(0));
    let count = Rc::clone(&connections);
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.set(count.get() + 1);
            spawn_local(async move {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                let first = connection.accept().await;
                let (_, respond) = first.expect("there is one").expect("it is good");
                respond_ok(respond);
                connection.graceful_shutdown();
                while let Some(Ok((_, respond))) = connection.accept().await {
                    respond_ok(respond);
                }
            });
        }
    });
    let chain = Chain::before(addr).await;
    let mut client = client(&chain).await;
    for _ in 0..5 {
        let response = ask(&mut client, post("/")).await;
        assert_eq!(response.expect("it is answered").status(), StatusCode::OK);
    }
    assert!(connections.get() > 1);
}

#[tokio::test(flavor = "local")]
async fn an_application_that_is_not_there_is_told_in_the_callers_way() {
    let (listener, addr) = listen().await;
    drop(listener);
    let chain = Chain::before(addr).await;
    let mut client = client(&chain).await;
    let response = ask(&mut client, post("/")).await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(
        response.headers()["proxy-status"],
        "netting; error=connection_refused; details=\"connect_refused\""
    );
    let mut grpc = post("/package.Service/Method");
    let kind = HeaderValue::from_static("application/grpc+proto");
    grpc.headers_mut().insert("content-type", kind);
    let response = ask(&mut client, grpc).await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(
        response.headers()["grpc-message"],
        "netting: connect_refused"
    );
    assert!(response.body().is_end_stream());
    let unavailable = [r#"rpc_response_status_code="UNAVAILABLE""#];
    while chain.count("rpc_client_call_duration_seconds_count", &unavailable) < 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_application_that_vanishes_is_a_bad_gateway_or_a_reset() {
    let (listener, addr) = listen().await;
    let chain = Chain::before(addr).await;
    let mut client = client(&chain).await;
    let (response, _) = client
        .send_request(post("/"), true)
        .expect("it is connected");
    let (stream, _) = listener.accept().await.expect("the proxy connects");
    let mut connection = h2::server::handshake(stream).await.expect("it speaks");
    let (_, respond) = connection.accept().await.expect("one").expect("good");
    drop((connection, respond));
    let response = response.await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let (response, _) = client
        .send_request(post("/"), true)
        .expect("it is connected");
    let (stream, _) = listener.accept().await.expect("the proxy connects");
    let mut connection = h2::server::handshake(stream).await.expect("it speaks");
    let (_, mut respond) = connection.accept().await.expect("one").expect("good");
    let sink = respond.send_response(ok(), false).expect("it is connected");
    let connection = spawn_local(async move { while connection.accept().await.is_some() {} });
    let mut body = response.await.expect("it is answered").into_body();
    connection.abort();
    drop(sink);
    assert!(
        body.data().await.expect("it ends").is_err(),
        "not as if it were complete"
    );
}
