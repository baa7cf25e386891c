//! What a service's policy does to streams, with real sockets: the client's proxy
//! before endpoints that fail in every way.

use std::{net::SocketAddr, time::Duration};

use netting_proto::v1;
use tokio::{
    net::TcpSocket,
    time::{Instant, timeout},
};

use super::{
    rules::{GOAWAY, HEADERS, SETTINGS, frame, next_frame},
    *,
};
use crate::proxy::chain::{PATIENCE_MS, Tells, lose_patience};

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

/// An endpoint that refuses so many streams, and answers the others; and how many it has
/// had.
async fn refuses(times: usize) -> (SocketAddr, Rc<Cell<usize>>) {
    let left = Cell::new(times);
    endpoint(move |_, mut respond: Responder| {
        match left.get().checked_sub(1) {
            Some(fewer) => {
                left.set(fewer);
                respond.send_reset(Code::REFUSED_STREAM);
            }
            None => respond_ok(respond),
        }
        std::future::ready(())
    })
    .await
}

/// An endpoint that takes streams and never answers.
async fn silent() -> SocketAddr {
    let handle = async |_request, _respond| std::future::pending().await;
    endpoint(handle).await.0
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

/// Sends a request with this body.
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

fn retrying_grpc() -> v1::ServicePolicy {
    v1::ServicePolicy {
        retry_on: Some(v1::RetryOn {
            grpc_codes: vec![14],
            ..Default::default()
        }),
        ..retrying()
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
    // A listener whose backlog is full drops what comes next, like a host that is gone.
    let socket = TcpSocket::new_v4().expect("a socket");
    let loopback = ([127, 0, 0, 1], 0).into();
    socket.bind(loopback).expect("a free port");
    let full = socket.listen(1).expect("it can listen");
    let addr = full.local_addr().expect("it is bound");
    let mut queued = Vec::new();
    for _ in 0..8 {
        let connect = timeout(Duration::from_millis(20), TcpStream::connect(addr));
        queued.push(connect.await);
    }
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

/// An endpoint that on so many connections says that it ends, and has looked at
/// nothing. Later ones are good.
async fn goes_away(times: usize) -> (SocketAddr, Rc<Cell<usize>>) {
    let (listener, addr) = listen().await;
    let left = Rc::new(Cell::new(times));
    let count = Rc::clone(&left);
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if count.get() == 0 {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                spawn_local(async move {
                    while let Some(Ok((_, respond))) = connection.accept().await {
                        respond_ok(respond);
                    }
                });
                continue;
            }
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.expect("it speaks");
            while next_frame(&mut stream).await.expect("it asks").0 != HEADERS {}
            let none = [frame(SETTINGS, 0, 0, &[]), frame(GOAWAY, 0, 0, &[0; 8])];
            stream.write_all(&none.concat()).await.expect("it reads");
            count.set(count.get() - 1);
            spawn_local(async move { while next_frame(&mut stream).await.is_ok() {} });
        }
    });
    (addr, left)
}

#[tokio::test(flavor = "local")]
async fn a_stream_behind_the_last_of_a_goaway_is_sent_again() {
    let (leaving, left) = goes_away(1000).await;
    let chain = before(&[leaving, good().await], never_ejecting()).await;
    let mut asking = client(&chain).await;
    for _ in 0..20 {
        assert_eq!(status(&mut asking, post("/")).await, StatusCode::OK);
    }
    assert!(left.get() < 1000, "some were sent there first");
    let (back_again, left) = goes_away(2).await;
    let chain = before(&[back_again], never_ejecting()).await;
    let mut asking = client(&chain).await;
    assert_eq!(status(&mut asking, post("/")).await, StatusCode::OK);
    assert_eq!((left.get(), chain.retries("stream_refused")), (0, 2));
    let (leaving, _) = goes_away(1000).await;
    let chain = before(&[leaving], never_ejecting()).await;
    let error = ask(&mut client(&chain).await, post("/")).await;
    let error = error.expect_err("it was never looked at");
    assert_eq!(error.reason(), Some(Code::REFUSED_STREAM));
}

#[tokio::test(flavor = "local")]
async fn a_stream_that_nobody_looked_at_is_sent_once_more_also_without_retries() {
    let without = || v1::ServicePolicy {
        retries: Some(0),
        ..never_ejecting()
    };
    let (leaving, _) = goes_away(1).await;
    let (refuses_once, refused) = refuses(1).await;
    for endpoint in [leaving, refuses_once] {
        let chain = before(&[endpoint], without()).await;
        let mut asking = client(&chain).await;
        assert_eq!(status(&mut asking, post("/")).await, StatusCode::OK);
        assert_eq!(chain.retries("stream_refused"), 1);
    }
    assert_eq!(refused.get(), 2);
    let (leaving, left) = goes_away(2).await;
    let chain = before(&[leaving], without()).await;
    let twice = ask(&mut client(&chain).await, post("/")).await;
    let twice = twice.expect_err("it is not sent for ever");
    assert_eq!(twice.reason(), Some(Code::REFUSED_STREAM));
    assert_eq!(left.get(), 0);
}

#[tokio::test(flavor = "local")]
async fn a_refused_stream_goes_elsewhere_whatever_the_method() {
    let (refuses, refused) = resets(Code::REFUSED_STREAM).await;
    let chain = before(&[refuses, good().await], never_ejecting()).await;
    let mut client = client(&chain).await;
    for _ in 0..20 {
        assert_eq!(status(&mut client, post("/")).await, StatusCode::OK);
    }
    assert!(refused.get() > 0, "some were sent there first");
    let retried = chain.retries("stream_refused") as usize;
    assert_eq!(retried, refused.get());
}

#[tokio::test(flavor = "local")]
async fn a_stream_that_is_refused_everywhere_is_tried_as_often_as_the_policy_says() {
    let (refuses, refused) = resets(Code::REFUSED_STREAM).await;
    let once_more = v1::ServicePolicy {
        retries: Some(1),
        ..Default::default()
    };
    let chain = before(&[refuses], once_more).await;
    let error = ask(&mut client(&chain).await, post("/")).await;
    let error = error.expect_err("it is refused");
    assert_eq!(error.reason(), Some(Code::REFUSED_STREAM));
    assert_eq!(refused.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn a_body_is_sent_again_whole_while_all_of_it_is_kept() {
    let (refuses, refused) = endpoint(async |request: Request<RecvStream>, mut respond| {
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
        }
        Responder::send_reset(&mut respond, Code::REFUSED_STREAM);
    })
    .await;
    let (echoes, _) = endpoint(async |request: Request<RecvStream>, mut respond| {
        let mut body = request.into_body();
        let said = read(&mut body).await.expect("it is sent");
        let ended = body.trailers().await.expect("they are sent");
        let ended = ended.expect("there are some");
        let mut sink = Responder::send_response(&mut respond, ok(), false).expect("connected");
        sink.send_data(said.into(), false).expect("connected");
        sink.send_trailers(ended).expect("connected");
    })
    .await;
    let chain = before(&[refuses, echoes], never_ejecting()).await;
    let mut client = client(&chain).await;
    let (small, large) = (vec![7; 40_000], vec![7; 70_000]);
    for _ in 0..10 {
        let response = ask_with(&mut client, post("/"), small.clone()).await;
        let mut body = response.expect("it is answered").into_body();
        assert!(read(&mut body).await.expect("all of it") == small);
        let ended = body.trailers().await.expect("they are sent");
        assert_eq!(ended.expect("there are some")["checksum"], "1");
    }
    let before = refused.get();
    assert!(before > 0, "some were sent there first");
    let mut failed = 0;
    for _ in 0..20 {
        let response = ask_with(&mut client, post("/"), large.clone()).await;
        failed += usize::from(response.is_err());
    }
    assert_eq!(failed, refused.get() - before, "none of them is sent again");
    assert!(failed > 0, "some were sent there first");
}

/// An endpoint that is a sidecar whose application cannot be reached, to which calls
/// of gRPC and others have different answers.
async fn unreached() -> SocketAddr {
    says(|| {
        let why = "netting; error=connection_refused; details=\"connect_refused\"";
        Response::builder()
            .status(200)
            .header("grpc-status", "14")
            .header("proxy-status", why)
    })
    .await
}

fn meshed() -> v1::Workload {
    v1::Workload {
        meshed: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "local")]
async fn what_an_application_relays_of_another_sidecar_is_not_believed() {
    let tells = Tells::default();
    let gateway = unreached().await;
    let (_own, first) = Chain::behind(gateway, &tells).await;
    let (_other, second) = Chain::behind(gateway, &tells).await;
    let chain = Chain::to_service(&[first, second], never_ejecting(), Some(meshed())).await;
    let mut client = client(&chain).await;
    let response = ask(&mut client, grpc()).await.expect("it is answered");
    let mut passed = response.headers().get_all("proxy-status").iter();
    assert!(
        passed
            .next()
            .is_some_and(|by| by.as_bytes().starts_with(b"netting; error="))
    );
    assert!(passed.next().is_some_and(|by| by == "netting"));
    assert_eq!(
        chain.retries("response_unwanted"),
        0,
        "the gateway has worked"
    );
}

#[tokio::test(flavor = "local")]
async fn what_never_got_from_a_sidecar_to_its_application_is_tried_elsewhere() {
    let endpoints = [unreached().await, good().await];
    let chain = Chain::to_service(&endpoints, never_ejecting(), Some(meshed())).await;
    let mut believing = client(&chain).await;
    let chain = before(&endpoints, never_ejecting()).await;
    let mut doubting = client(&chain).await;
    let mut passed_on = 0;
    for _ in 0..20 {
        let response = ask(&mut believing, grpc()).await.expect("it is answered");
        assert!(!response.headers().contains_key("grpc-status"));
        let response = ask(&mut doubting, grpc()).await.expect("it is answered");
        passed_on += usize::from(response.headers().contains_key("grpc-status"));
    }
    assert!(passed_on > 0, "a stranger is not believed");
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
async fn a_call_that_is_unavailable_is_made_elsewhere_if_asked() {
    let unavailable = || says(|| Response::builder().header("grpc-status", "14"));
    let endpoints = [unavailable().await, good().await];
    let chain = before(&endpoints, retrying_grpc()).await;
    let mut asked = client(&chain).await;
    let message = b"\0\0\0\0\x02hi".to_vec();
    for _ in 0..10 {
        let response = ask_with(&mut asked, grpc(), message.clone()).await;
        let response = response.expect("it is answered");
        assert!(!response.headers().contains_key("grpc-status"));
    }
    assert!(chain.retries("response_unwanted") > 0);
    let chain = before(&endpoints[..1], never_ejecting()).await;
    let mut unasked = client(&chain).await;
    let response = ask(&mut unasked, grpc()).await.expect("it is answered");
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(chain.retries("response_unwanted"), 0);
}

#[tokio::test(flavor = "local")]
async fn what_is_asked_for_calls_of_grpc_sends_no_other_post_twice() {
    let policy = v1::ServicePolicy {
        retry_on: Some(v1::RetryOn {
            reset: true,
            statuses: vec![503],
            grpc_codes: vec![14],
        }),
        ..retrying()
    };
    let chain = before(&[busy().await, busy().await], policy).await;
    let mut asked = client(&chain).await;
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    for other in [post("/"), of_type("application/grpc-web+proto")] {
        assert_eq!(status(&mut asked, other).await, busy);
        assert_eq!(chain.retries("response_unwanted"), 0);
    }
    for call in ["application/grpc+proto", "application/grpc;a=b"] {
        let before = chain.retries("response_unwanted");
        assert_eq!(status(&mut asked, of_type(call)).await, busy);
        assert!(chain.retries("response_unwanted") > before, "{call}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_fault_is_no_answer_of_grpc_to_what_is_only_called_like_it() {
    let chain = before(&[nobody().await], never_ejecting()).await;
    let mut client = client(&chain).await;
    for kind in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let response = ask(&mut client, of_type(kind))
            .await
            .expect("it is answered");
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert!(!response.headers().contains_key("grpc-status"));
    }
    let calls = chain.count("rpc_client_call_duration_seconds_count", &[]);
    assert_eq!(calls, 0, "{}", chain.metrics.expose());
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
async fn an_answer_that_does_not_come_is_told_in_the_callers_way() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(300),
        ..Default::default()
    };
    let chain = before(&[silent().await, silent().await], impatient).await;
    let mut client = client(&chain).await;
    let why = "netting; error=http_response_timeout; details=\"response_timeout\"";
    let response = ask(&mut client, get()).await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.headers()["proxy-status"], why);
    let response = ask(&mut client, grpc()).await.expect("it is answered");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(response.headers()["proxy-status"], why);
}

/// How many endpoints are ejected once a call was begun with this data, and is not answered
/// in time.
async fn ejected_after(data: &[u8], ends: bool, timeout_ms: u64) -> u64 {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(timeout_ms),
        eject_after: Some(1),
        ..Default::default()
    };
    let chain = before(&[silent().await, silent().await], impatient).await;
    let mut client = client(&chain).await;
    let (response, mut sink) = client.send_request(grpc(), false).expect("connected");
    let data = Bytes::copy_from_slice(data);
    let sending = spawn_local(async move {
        write(&mut sink, data, &Cell::new(0)).await;
        // One that was answered before its end takes no more.
        let _ = ends.then(|| sink.send_data(Bytes::new(), true));
        std::future::pending::<()>().await;
    });
    let response = response.await.expect("it is answered");
    assert_eq!(response.headers()["grpc-status"], "4");
    sending.abort();
    chain.count("netting_endpoint_ejections_total", &[])
}

#[tokio::test(flavor = "local")]
async fn a_client_that_pauses_amid_its_stream_ejects_no_endpoint() {
    assert_eq!(ejected_after(b"", false, 300).await, 0);
    assert_eq!(ejected_after(b"hi", false, 300).await, 0);
    // Long enough for as much to be sent as is taken.
    assert_eq!(ejected_after(b"hi", true, 2000).await, 1);
    let more_than_its_window = vec![7; 1 << 20];
    assert_eq!(ejected_after(&more_than_its_window, false, 2000).await, 1);
}

#[tokio::test(flavor = "local")]
async fn a_try_that_takes_too_long_is_followed_by_another_if_asked() {
    let impatient = v1::ServicePolicy {
        per_try_timeout_ms: Some(1000),
        ..retrying()
    };
    let chain = before(&[silent().await, good().await], impatient).await;
    let mut client = client(&chain).await;
    for _ in 0..3 {
        assert_eq!(status(&mut client, get()).await, StatusCode::OK);
    }
}

#[tokio::test(flavor = "local")]
async fn the_whole_request_ends_in_its_time_however_many_tries_are_left() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(50),
        per_try_timeout_ms: Some(20),
        retries: Some(10),
        ..retrying()
    };
    let chain = before(&[silent().await, silent().await], impatient).await;
    let status = status(&mut client(&chain).await, get()).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(chain.retries("response_timeout") < 4);
}

/// An endpoint whose responses begin at once, and end when the test tells.
struct Slow {
    addr: SocketAddr,
    end: tokio::sync::watch::Sender<bool>,
    /// How many were reset before.
    cut: Rc<Cell<usize>>,
}

async fn slow() -> Slow {
    let cut = Rc::new(Cell::new(0));
    let count = Rc::clone(&cut);
    let (end, wait) = tokio::sync::watch::channel(false);
    let handle = move |request: Request<RecvStream>, mut respond: Responder| {
        let (count, mut wait) = (Rc::clone(&count), wait.clone());
        async move {
            let mut sink = respond.send_response(ok(), false).expect("connected");
            sink.send_data("slow ".into(), false).expect("connected");
            tokio::select! {
                _ = poll_fn(|cx| sink.poll_reset(cx)) => count.set(count.get() + 1),
                Ok(_) = wait.wait_for(|end| *end) => {
                    sink.send_data("end".into(), true).expect("connected");
                }
            }
            drop(request);
        }
    };
    let (addr, _) = endpoint(handle).await;
    Slow { addr, end, cut }
}

#[tokio::test(flavor = "local")]
async fn a_response_that_does_not_end_in_time_is_cut_and_others_go_on() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(PATIENCE_MS),
        eject_after: Some(1),
        ..Default::default()
    };
    let slow = slow().await;
    let chain = before(&[slow.addr], impatient).await;
    let mut client = client(&chain).await;
    for request in [get(), grpc()] {
        let response = ask(&mut client, request).await;
        let mut body = response.expect("it is answered").into_body();
        lose_patience().await;
        let error = read(&mut body).await.expect_err("it is cut");
        assert_eq!(error.reason(), Some(Code::CANCEL));
    }
    while slow.cut.get() < 2 {
        tokio::task::yield_now().await;
    }
    let late = [r#"error_type="response_timeout""#];
    assert_eq!(chain.requests(&late), 2, "{}", chain.metrics.expose());
    let calls = chain.count("rpc_client_call_duration_seconds_count", &late);
    assert_eq!(calls, 1, "{}", chain.metrics.expose());
    let connects = chain.count("netting_tcp_connect_duration_seconds_count", &[]);
    assert_eq!(connects, 1, "the connection stays");
    let ejections = chain.count("netting_endpoint_ejections_total", &[]);
    assert_eq!(ejections, 0, "the reader may be the slow one");
}

#[tokio::test(flavor = "local")]
async fn a_try_is_over_once_the_head_is_there() {
    let impatient = v1::ServicePolicy {
        per_try_timeout_ms: Some(PATIENCE_MS),
        ..Default::default()
    };
    let slow = slow().await;
    let chain = before(&[slow.addr], impatient).await;
    let response = ask(&mut client(&chain).await, get()).await;
    let mut body = response.expect("it is answered").into_body();
    lose_patience().await;
    slow.end.send_replace(true);
    assert_eq!(read(&mut body).await.expect("all of it"), b"slow end");
    assert_eq!(slow.cut.get(), 0);
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_outlasts_the_time_for_a_request() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(PATIENCE_MS),
        ..Default::default()
    };
    let slow = slow().await;
    let chain = before(&[slow.addr], impatient).await;
    let tunnel = Request::connect("app:443")
        .body(())
        .expect("a good request");
    let response = ask(&mut client(&chain).await, tunnel).await;
    let mut body = response.expect("it is answered").into_body();
    lose_patience().await;
    slow.end.send_replace(true);
    assert_eq!(read(&mut body).await.expect("all of it"), b"slow end");
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
