//! Answers that do not come in time, or do not end.

use super::*;
use crate::proxy::chain::{PATIENCE_MS, lose_patience};

/// An endpoint that takes streams and never answers.
async fn silent() -> SocketAddr {
    let handle = async |_request, _respond| std::future::pending().await;
    endpoint(handle).await.0
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
