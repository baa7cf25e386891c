//! What a service's policy does to streams, with real sockets: the client's proxy
//! before endpoints that fail in every way.

use std::{net::SocketAddr, time::Duration};

use netting_proto::v1;
use tokio::time::Instant;

use super::*;
use crate::proxy::chain::full;

mod calls;
mod late;
mod meanwhile;
mod refused;

/// The client's proxy before these endpoints, of a service with this policy.
pub(super) async fn before(endpoints: &[SocketAddr], policy: v1::ServicePolicy) -> Chain {
    Chain::to_service(endpoints, policy, None).await
}

/// An endpoint that treats each stream so, and how many it has had.
pub(super) async fn endpoint<F>(
    handle: impl Fn(Request<RecvStream>, Responder) -> F + 'static,
) -> (SocketAddr, Rc<Cell<usize>>)
where
    F: Future<Output = ()> + 'static,
{
    let (listener, addr) = listen().await;
    let streams = Rc::new(Cell::new(0));
    let (count, handle) = (Rc::clone(&streams), Rc::new(handle));
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (count, handle) = (Rc::clone(&count), Rc::clone(&handle));
            spawn_local(async move {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    count.set(count.get() + 1);
                    spawn_local(handle(request, respond));
                }
            });
        }
    });
    (addr, streams)
}

async fn good() -> SocketAddr {
    endpoint(async |_, respond| respond_ok(respond)).await.0
}

/// An endpoint that answers each request with this head alone.
async fn says(build: impl Fn() -> http::response::Builder + 'static) -> SocketAddr {
    let handle = move |_, mut respond: Responder| {
        let head = build().body(()).expect("a good response");
        respond.send_response(head, true).expect("it is connected");
        std::future::ready(())
    };
    endpoint(handle).await.0
}

async fn busy() -> SocketAddr {
    says(|| Response::builder().status(503)).await
}

/// An endpoint that resets each stream with this code.
async fn resets(code: Code) -> (SocketAddr, Rc<Cell<usize>>) {
    endpoint(move |_, mut respond: Responder| {
        respond.send_reset(code);
        std::future::ready(())
    })
    .await
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    listen().await.1
}

pub(super) fn get() -> Request<()> {
    let request = Request::get("http://app/").body(());
    request.expect("a good request")
}

fn grpc() -> Request<()> {
    of_type("application/grpc")
}

fn of_type(kind: &'static str) -> Request<()> {
    let mut request = post("/package.Service/Method");
    let kind = HeaderValue::from_static(kind);
    request.headers_mut().insert("content-type", kind);
    request
}

async fn status(client: &mut SendRequest<Bytes>, request: Request<()>) -> StatusCode {
    let response = ask(client, request).await;
    response.expect("it is answered").status()
}

/// Sends a request with this body and trailers.
async fn ask_with(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: Vec<u8>,
) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|cx| client.poll_ready(cx)).await?;
    let (response, mut sink) = client.send_request(request, false)?;
    spawn_local(async move {
        write(&mut sink, body.into(), &Cell::new(0)).await;
        // One that was answered before its end takes no more.
        let _ = sink.send_trailers(trailers("checksum", "1"));
    });
    response.await
}

fn retrying() -> v1::ServicePolicy {
    v1::ServicePolicy {
        retry_on: Some(v1::RetryOn {
            reset: true,
            statuses: vec![503, 504],
            grpc_codes: vec![],
        }),
        eject_after: Some(0),
        ..Default::default()
    }
}

pub(super) fn never_ejecting() -> v1::ServicePolicy {
    v1::ServicePolicy {
        eject_after: Some(0),
        ..Default::default()
    }
}

#[tokio::test(flavor = "local")]
async fn a_failed_connect_is_tried_elsewhere_whatever_the_method() {
    let endpoints = [nobody().await, nobody().await, good().await];
    let chain = before(&endpoints, v1::ServicePolicy::default()).await;
    let mut client = client(&chain).await;
    for _ in 0..5 {
        assert_eq!(status(&mut client, get()).await, StatusCode::OK);
        assert_eq!(status(&mut client, post("/")).await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "local")]
async fn streams_that_wait_for_the_same_connect_fail_with_it() {
    let (addr, _full) = full().await;
    let chain = before(&[addr], never_ejecting()).await;
    let mut client = client(&chain).await;
    let begun = Instant::now();
    let asked: Vec<_> = (0..20)
        .map(|_| client.send_request(get(), true).expect("connected").0)
        .collect();
    for response in asked {
        let response = response.await.expect("it is answered");
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    }
    // One connect takes a second.
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "local")]
async fn a_status_is_tried_again_if_asked_and_only_what_is_idempotent() {
    let endpoints = [busy().await, busy().await, good().await];
    let chain = before(&endpoints, retrying()).await;
    let mut asked = client(&chain).await;
    for _ in 0..10 {
        assert_eq!(status(&mut asked, get()).await, StatusCode::OK);
    }
    assert!(chain.retries("response_unwanted") > 0);
    let chain = before(&endpoints[..2], retrying()).await;
    let mut asked = client(&chain).await;
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!(status(&mut asked, post("/")).await, busy);
    assert_eq!(chain.retries("response_unwanted"), 0);
    let chain = before(&endpoints[..2], v1::ServicePolicy::default()).await;
    let mut unasked = client(&chain).await;
    assert_eq!(status(&mut unasked, get()).await, busy);
    assert_eq!(chain.retries("response_unwanted"), 0);
}

#[tokio::test(flavor = "local")]
async fn a_stream_that_breaks_is_tried_again_if_asked() {
    let (broken, _) = resets(Code::INTERNAL_ERROR).await;
    let chain = before(&[broken, good().await], retrying()).await;
    let mut asked = client(&chain).await;
    let chain = before(&[broken], never_ejecting()).await;
    let mut unasked = client(&chain).await;
    for _ in 0..5 {
        assert_eq!(status(&mut asked, get()).await, StatusCode::OK);
        let error = ask(&mut unasked, get()).await.expect_err("it is reset");
        assert_eq!(error.reason(), Some(Code::INTERNAL_ERROR));
    }
}

#[tokio::test(flavor = "local")]
async fn one_stream_too_many_is_refused_at_once() {
    let narrow = v1::ServicePolicy {
        max_pending: Some(1),
        ..Default::default()
    };
    let (go, wait) = tokio::sync::watch::channel(false);
    // Its answers begin when the test tells, and do not end.
    let (slow, streams) = endpoint(move |_, mut respond| {
        let mut wait = wait.clone();
        async move {
            wait.wait_for(|go| *go).await.expect("the test tells");
            let sink = Responder::send_response(&mut respond, ok(), false);
            let _sink = sink.expect("it is connected");
            std::future::pending().await
        }
    })
    .await;
    let chain = before(&[slow], narrow).await;
    let mut client = client(&chain).await;
    let (first, _) = client.send_request(get(), true).expect("connected");
    while streams.get() == 0 {
        tokio::task::yield_now().await;
    }
    let response = ask(&mut client, get()).await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let why = &response.headers()["proxy-status"];
    let why = why.to_str().expect("plain text");
    assert!(why.contains("details=\"too_many_pending\""), "{why}");
    let response = ask(&mut client, grpc()).await.expect("it is answered");
    assert_eq!(response.headers()["grpc-status"], "14");
    go.send_replace(true);
    let first = first.await.expect("it is answered");
    assert_eq!(first.status(), StatusCode::OK);
    let second = status(&mut client, get()).await;
    assert_eq!(second, StatusCode::OK, "the first one waits no longer");
    drop(first);
}

#[tokio::test(flavor = "local")]
async fn a_spent_budget_ends_retries() {
    let chain = before(&[busy().await, busy().await], retrying()).await;
    let mut client = client(&chain).await;
    for _ in 0..60 {
        let status = status(&mut client, get()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    // Two for each request, until the hundred of an idle service and one for each
    // five requests are spent.
    let count = chain.retries("response_unwanted");
    assert!((100..=115).contains(&count), "{count} retries");
    let reached =
        r#"netting_tcp_limits_reached_total{direction="outbound",reason="retry_budget_spent"}"#;
    assert!(chain.metrics.expose().contains(reached));
}
