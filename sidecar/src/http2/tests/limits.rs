//! Bounds, and what is said when they are reached.

use std::time::Duration;

use super::{
    policy::{before, endpoint, get},
    rules::{END_HEADERS, END_STREAM, GET, HEADERS, SETTINGS, WINDOW_UPDATE, frame},
    *,
};
use crate::{
    http2::SEND_BUFFER_BYTES_MAX,
    proxy::chain::{HEAD_BYTES_MAX, POOL_MAX},
};

fn with_header(bytes: usize) -> Request<()> {
    let mut request = get();
    let value = HeaderValue::from_str(&"x".repeat(bytes));
    let value = value.expect("it is text");
    request.headers_mut().insert("x-long", value);
    request
}

#[tokio::test(flavor = "local")]
async fn a_head_that_is_too_large_is_refused_with_its_reason() {
    let (chain, _) = app(async |_, respond| respond_ok(respond)).await;
    let mut client = client(&chain).await;
    let fits = ask(&mut client, with_header(HEAD_BYTES_MAX / 2)).await;
    assert_eq!(fits.expect("it is answered").status(), StatusCode::OK);
    let refused = ask(&mut client, with_header(HEAD_BYTES_MAX)).await;
    let refused = refused.expect("it is answered");
    assert_eq!(refused.status(), 431);
    assert_eq!(
        refused.headers()["proxy-status"],
        "netting; error=http_request_error; details=\"request_head_too_large\""
    );
    let much = ask(&mut client, with_header(HEAD_BYTES_MAX * 2)).await;
    let much = much.map_or(431, |response| response.status().as_u16());
    assert_eq!(much, 431);
    let after = ask(&mut client, get()).await;
    assert_eq!(after.expect("it is answered").status(), StatusCode::OK);
}

#[tokio::test(flavor = "local")]
async fn a_response_whose_head_is_too_large_is_a_bad_gateway_and_harms_no_other() {
    let (addr, _) = endpoint(
        async |request: Request<RecvStream>, mut respond: Responder| {
            let mut head = ok();
            if request.uri().path() == "/long" {
                let value = HeaderValue::from_str(&"x".repeat(HEAD_BYTES_MAX * 2));
                head.headers_mut()
                    .insert("x-long", value.expect("it is text"));
            }
            let _ = respond.send_response(head, true);
        },
    )
    .await;
    let chain = before(&[addr], Default::default()).await;
    let mut client = client(&chain).await;
    for _ in 0..3 {
        let good = ask(&mut client, get()).await;
        assert_eq!(good.expect("it is answered").status(), StatusCode::OK);
        let long = ask(&mut client, post("/long")).await;
        let long = long.expect("it is answered");
        assert_eq!(long.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(
            long.headers()["proxy-status"],
            "netting; error=http_protocol_error; details=\"response_malformed\""
        );
    }
    let connects = chain.count("netting_tcp_connect_duration_seconds_count", &[]);
    assert_eq!(connects, 1, "the connection stays");
}

#[tokio::test(flavor = "local")]
async fn a_client_that_has_all_the_streams_it_may_have_is_noticed() {
    let (addr, _) = endpoint(async |_request, _respond| std::future::pending().await).await;
    let chain = before(&[addr], Default::default()).await;
    let client = client(&chain).await;
    let most = chain.outbound.proxy.http2.pool.limits().streams_max;
    let mut held = Vec::new();
    for _ in 0..most {
        let mut client = client.clone();
        poll_fn(|cx| client.poll_ready(cx))
            .await
            .expect("it is connected");
        held.push(client.send_request(get(), true).expect("it is connected"));
    }
    let reached =
        r#"netting_tcp_limits_reached_total{direction="outbound",reason="too_many_streams"} 1"#;
    while !chain.has(reached) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_stream_that_waits_for_a_full_endpoint_is_noticed_and_answered_in_its_turn() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut wait = wait.clone();
            spawn_local(async move {
                let mut server = h2::server::Builder::new();
                let handshake = server.max_concurrent_streams(1).handshake(stream);
                let mut connection = handshake.await.expect("it speaks");
                while let Some(Ok((_, respond))) = connection.accept().await {
                    let told = wait.wait_for(|go| *go).await;
                    told.expect("the test tells");
                    respond_ok(respond);
                }
            });
        }
    });
    let chain = before(&[addr], Default::default()).await;
    let mut client = client(&chain).await;
    let reached =
        r#"netting_tcp_limits_reached_total{direction="outbound",reason="upstream_full"}"#;
    let mut asked = Vec::new();
    while !chain.metrics.expose().contains(reached) {
        assert!(asked.len() < 100, "the endpoint takes one at a time");
        poll_fn(|cx| client.poll_ready(cx))
            .await
            .expect("it is connected");
        let (response, _) = client.send_request(get(), true).expect("it is connected");
        asked.push(response);
        // The next one comes once the endpoint has said how many it takes.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    go.send_replace(true);
    for response in asked {
        let response = response.await.expect("it is answered");
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "local")]
async fn readers_that_hold_more_than_a_connections_window_starve_nobody() {
    const READERS: usize = 70;
    let passed = Rc::new(Cell::new(0));
    let count = Rc::clone(&passed);
    let much = Bytes::from(vec![7; 1 << 20]);
    let (addr, _) = endpoint(
        move |request: Request<RecvStream>, mut respond: Responder| {
            let (count, much) = (Rc::clone(&count), much.clone());
            async move {
                let mut sink = respond.send_response(ok(), false).expect("it is connected");
                if request.uri().path() == "/much" {
                    write(&mut sink, much, &count).await;
                } else {
                    sink.send_data("some".into(), true)
                        .expect("it is connected");
                }
            }
        },
    )
    .await;
    let chain = before(&[addr], Default::default()).await;
    let limits = *chain.outbound.proxy.http2.pool.limits();
    let held = READERS * limits.stream_window as usize;
    assert!(held > limits.connection_window as usize);
    let starved = async {
        let (mut slow, mut other) = (client(&chain).await, client(&chain).await);
        let mut unread = Vec::new();
        for _ in 0..READERS {
            unread.push(ask(&mut slow, post("/much")).await.expect("it is answered"));
        }
        while passed.get() < held {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let response = ask(&mut other, post("/some")).await;
        let mut body = response.expect("it is answered").into_body();
        assert_eq!(read(&mut body).await.expect("all of it"), b"some");
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), starved).await;
    assert!(in_time.is_ok(), "{} bytes are on their way", passed.get());
}

#[tokio::test(flavor = "local")]
async fn readers_that_leave_small_frames_unread_harm_nobody() {
    const READERS: usize = 3;
    const SMALL: &[u8] = b"a tick. ";
    let passed = Rc::new(Cell::new(0));
    let count = Rc::clone(&passed);
    let (addr, _) = endpoint(
        move |request: Request<RecvStream>, mut respond: Responder| {
            let count = Rc::clone(&count);
            async move {
                if request.uri().path() != "/ticks" {
                    return respond_ok(respond);
                }
                let mut sink = respond.send_response(ok(), false).expect("it is connected");
                let mut before = usize::MAX;
                while before != count.get() {
                    before = count.get();
                    write(&mut sink, Bytes::from_static(SMALL), &count).await;
                }
            }
        },
    )
    .await;
    let chain = before(&[addr], Default::default()).await;
    let held = READERS * (chain.outbound.proxy.http2.pool.limits().stream_window as usize);
    let harmed = async {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1);
        let handshake = builder.handshake(chain.connect().await);
        let (mut slow, connection) = handshake.await.expect("it speaks");
        spawn_local(connection);
        let mut unread = Vec::new();
        for _ in 0..READERS {
            let ticks = ask(&mut slow, post("/ticks")).await;
            unread.push(ticks.expect("it is answered"));
        }
        while passed.get() < held {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let response = ask(&mut slow, get()).await;
        assert_eq!(response.expect("it is answered").status(), StatusCode::OK);
        for response in &mut unread {
            let tick = response.body_mut().data().await.expect("there is more");
            assert_eq!(tick.expect("it goes on"), SMALL[..1]);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), harmed).await;
    assert!(in_time.is_ok(), "{} bytes are on their way", passed.get());
    let connects = chain.count("netting_tcp_connect_duration_seconds_count", &[]);
    assert_eq!(connects, 1, "the connection stays");
}

#[tokio::test(flavor = "local")]
async fn what_a_client_does_not_read_is_held_for_each_stream_as_far_as_its_window() {
    const STREAMS: u32 = 90;
    /// What fits into the sockets.
    const KERNEL_BYTES: usize = 16 << 20;
    let passed = Rc::new(Cell::new(0));
    let count = Rc::clone(&passed);
    let much = Bytes::from(vec![7; 4 << 20]);
    let (addr, _) = endpoint(
        move |request: Request<RecvStream>, mut respond: Responder| {
            let (count, much) = (Rc::clone(&count), much.clone());
            async move {
                if request.method() != http::Method::GET {
                    return respond_ok(respond);
                }
                let mut sink = respond.send_response(ok(), false).expect("it is connected");
                write(&mut sink, much, &count).await;
            }
        },
    )
    .await;
    let chain = before(&[addr], Default::default()).await;
    let window = chain.outbound.proxy.http2.pool.limits().stream_window as usize;
    let mut unread = chain.connect().await;
    let most = (1_u32 << 30).to_be_bytes();
    let setting = [&[0, 4][..], &most].concat();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &setting));
    hello.extend(frame(WINDOW_UPDATE, 0, 0, &most));
    for at in 0..STREAMS {
        hello.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, GET));
    }
    unread.write_all(&hello).await.expect("it is connected");
    let mut other = client(&chain).await;
    let mut before = usize::MAX;
    while before != passed.get() || before == 0 {
        before = passed.get();
        for _ in 0..20 {
            let answer = ask(&mut other, post("/")).await;
            assert_eq!(answer.expect("it is answered").status(), StatusCode::OK);
        }
    }
    let held = passed.get().saturating_sub(KERNEL_BYTES) / STREAMS as usize;
    let most = window + SEND_BUFFER_BYTES_MAX;
    assert!(held <= most, "{held} bytes of each stream");
}

#[tokio::test(flavor = "local")]
async fn more_interim_responses_than_anybody_needs_are_no_response() {
    let (addr, _) = endpoint(async |_: Request<RecvStream>, mut respond: Responder| {
        let hint = || {
            let hint = Response::builder().status(103).header("link", "</a>");
            hint.body(()).expect("a good response")
        };
        while respond.send_informational(hint()).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let chain = before(&[addr], Default::default()).await;
    let refused = ask(&mut client(&chain).await, post("/")).await;
    let refused = refused.expect("it is answered");
    assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(
        refused.headers()["proxy-status"],
        "netting; error=http_protocol_error; details=\"response_malformed\""
    );
}

/// An endpoint that answers, once it may where that is asked for, and counts the
/// connections that are open to it.
async fn counting(
    open: &Rc<Cell<usize>>,
    go: &tokio::sync::watch::Receiver<bool>,
) -> std::net::SocketAddr {
    let (listener, addr) = listen().await;
    let (open, go) = (Rc::clone(open), go.clone());
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            open.set(open.get() + 1);
            let (open, go) = (Rc::clone(&open), go.clone());
            spawn_local(async move {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    let mut go = go.clone();
                    spawn_local(async move {
                        if request.uri().path() == "/held" {
                            go.wait_for(|go| *go).await.expect("the test tells");
                        }
                        respond_ok(respond);
                    });
                }
                open.set(open.get() - 1);
            });
        }
    });
    addr
}

#[tokio::test(flavor = "local")]
async fn no_more_connections_are_kept_than_may_be_and_those_in_use_stay() {
    let (open, (go, wait)) = (Rc::default(), tokio::sync::watch::channel(false));
    let mut endpoints = Vec::new();
    for _ in 0..POOL_MAX * 2 {
        endpoints.push(counting(&open, &wait).await);
    }
    let chain = before(&endpoints, Default::default()).await;
    let mut client = client(&chain).await;
    let (held, _) = client
        .send_request(post("/held"), true)
        .expect("it is connected");
    for _ in 0..POOL_MAX * 20 {
        let response = ask(&mut client, get()).await;
        assert_eq!(response.expect("it is answered").status(), StatusCode::OK);
    }
    let connects = chain.count("netting_tcp_connect_duration_seconds_count", &[]);
    assert!(connects > POOL_MAX as u64, "there are many endpoints");
    let few = async {
        // Those that the endpoints have not yet seen closed go on for a moment.
        while open.get() > POOL_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let few = tokio::time::timeout(Duration::from_secs(10), few).await;
    assert!(few.is_ok(), "{} are open", open.get());
    let full = [r#"reason="pool_full""#];
    assert!(chain.count("netting_tcp_limits_reached_total", &full) > 0);
    go.send_replace(true);
    let held = held.await.expect("its connection stays");
    assert_eq!(held.status(), StatusCode::OK);
}
