//! What a service's policy does to requests, with real sockets: the client's proxy
//! before endpoints that fail in every way.

use std::{net::SocketAddr, time::Duration};

use netting_proto::v1;
use tokio::time::Instant;

use super::*;
use crate::proxy::chain::{PATIENCE_MS, Tells, lose_patience};

/// The client's proxy before these endpoints, of a service with this policy.
pub(super) async fn before(endpoints: &[SocketAddr], policy: v1::ServicePolicy) -> Chain {
    Chain::to_service(endpoints, policy, None).await
}

/// An endpoint that answers each request so, and hangs up; without an answer it hangs
/// up at once.
pub(super) async fn endpoint(answer: &'static str) -> SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn_local(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    addr
}

/// An endpoint that takes requests and never answers.
async fn silent() -> SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    addr
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    listen().await.1
}

pub(super) async fn ask(chain: &Chain, request: &str) -> String {
    let mut client = chain.connect().await;
    say(&mut client, request).await;
    rest(&mut client).await.expect("it is answered")
}

pub(super) const CLOSE: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
pub(super) const BUSY: &str =
    "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";
pub(super) const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";

pub(super) fn retrying(retry_on: v1::RetryOn) -> v1::ServicePolicy {
    v1::ServicePolicy {
        retry_on: Some(retry_on),
        eject_after: Some(0),
        ..Default::default()
    }
}

pub(super) fn on_503() -> v1::RetryOn {
    v1::RetryOn {
        reset: true,
        statuses: vec![503, 504],
        grpc_codes: vec![],
    }
}

#[tokio::test(flavor = "local")]
async fn a_failed_connect_is_tried_elsewhere_whatever_the_method() {
    let endpoints = [nobody().await, nobody().await, endpoint(CLOSE).await];
    let chain = before(&endpoints, v1::ServicePolicy::default()).await;
    for request in [ASK, POST].repeat(5) {
        let answer = ask(&chain, request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

pub(super) const UNREACHED: &str = "HTTP/1.1 502 Bad Gateway\r\n\
     proxy-status: netting; error=connection_refused; details=\"connect_refused\"\r\n\
     Content-Length: 0\r\nConnection: close\r\n\r\n";

pub(super) fn meshed() -> v1::Workload {
    v1::Workload {
        meshed: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "local")]
async fn what_an_application_relays_of_another_sidecar_is_not_believed() {
    let gateway = endpoint(UNREACHED).await;
    let tells = Tells::default();
    let (_own, first) = Chain::behind(gateway, &tells).await;
    let (_other, second) = Chain::behind(gateway, &tells).await;
    let never = v1::ServicePolicy {
        eject_after: Some(0),
        ..Default::default()
    };
    let chain = Chain::to_service(&[first, second], never, Some(meshed())).await;
    let answer = ask(&chain, POST).await;
    let relayed = "proxy-status: netting; error=connection_refused; details=\"connect_refused\"\r\n\
         Content-Length: 0\r\nproxy-status: netting\r\n";
    assert!(answer.contains(relayed), "{answer}");
    assert_eq!(
        chain.retries("response_unwanted"),
        0,
        "the gateway has worked"
    );
}

#[tokio::test(flavor = "local")]
async fn what_never_got_from_a_sidecar_to_its_application_is_tried_elsewhere() {
    let endpoints = [endpoint(UNREACHED).await, endpoint(CLOSE).await];
    let policy = v1::ServicePolicy::default();
    let chain = Chain::to_service(&endpoints, policy, Some(meshed())).await;
    for request in [ASK, POST].repeat(5) {
        let answer = ask(&chain, request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_stranger_is_not_believed_that_a_request_never_arrived() {
    let never = v1::ServicePolicy {
        eject_after: Some(0),
        ..Default::default()
    };
    let endpoints = [endpoint(UNREACHED).await, endpoint(CLOSE).await];
    let chain = before(&endpoints, never).await;
    let mut refused = 0;
    for _ in 0..20 {
        let answer = ask(&chain, POST).await;
        refused += usize::from(answer.starts_with("HTTP/1.1 502 "));
    }
    assert!(refused > 0, "some were sent to the stranger first");
}

#[tokio::test(flavor = "local")]
async fn without_retries_the_first_failure_is_the_clients() {
    let never = v1::ServicePolicy {
        retries: Some(0),
        ..Default::default()
    };
    let chain = before(&[nobody().await, nobody().await], never).await;
    let answer = ask(&chain, ASK).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(answer.contains("details=\"connect_refused\""), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn a_status_is_tried_again_if_asked_and_only_what_is_idempotent() {
    let endpoints = [
        endpoint(BUSY).await,
        endpoint(BUSY).await,
        endpoint(CLOSE).await,
    ];
    let asked = before(&endpoints, retrying(on_503())).await;
    for _ in 0..10 {
        let answer = ask(&asked, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(asked.retries("response_unwanted") > 0);
    let busy = [endpoint(BUSY).await, endpoint(BUSY).await];
    let asked = before(&busy, retrying(on_503())).await;
    let answer = ask(&asked, POST).await;
    assert!(answer.starts_with("HTTP/1.1 503 Busy"), "{answer}");
    let unasked = before(&busy, v1::ServicePolicy::default()).await;
    let answer = ask(&unasked, ASK).await;
    assert!(answer.starts_with("HTTP/1.1 503 Busy"), "{answer}");
    assert_eq!(unasked.retries("response_unwanted"), 0);
}

#[tokio::test(flavor = "local")]
async fn what_is_asked_for_calls_of_grpc_sends_no_post_twice() {
    let on_calls = v1::RetryOn {
        grpc_codes: vec![14],
        ..on_503()
    };
    for failing in [BUSY, ""] {
        let endpoints = [endpoint(failing).await, endpoint(failing).await];
        let chain = before(&endpoints, retrying(on_calls.clone())).await;
        let answer = ask(&chain, POST).await;
        assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
        for reason in ["response_unwanted", "upstream_closed"] {
            assert_eq!(chain.retries(reason), 0, "{reason}");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_breaks_is_tried_again_if_asked() {
    let endpoints = [endpoint("").await, endpoint(CLOSE).await];
    let asked = before(&endpoints, retrying(on_503())).await;
    let unasked = before(&endpoints[..1], v1::ServicePolicy::default()).await;
    for _ in 0..5 {
        let answer = ask(&asked, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = ask(&unasked, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_breaks_behind_an_endpoints_sidecar_is_no_other() {
    let (_sidecar, breaks) = Chain::behind(endpoint("").await, &Tells::default()).await;
    let endpoints = [breaks, endpoint(CLOSE).await];
    let on_reset = v1::RetryOn {
        reset: true,
        ..Default::default()
    };
    let chain = Chain::to_service(&endpoints, retrying(on_reset), Some(meshed())).await;
    let mut again = 0;
    // Until the one that breaks was chosen.
    for _ in 0..100 {
        let answer = ask(&chain, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        again = chain.retries("response_unwanted");
        if again > 0 {
            break;
        }
    }
    assert!(again > 0);
    for _ in 0..10 {
        ask(&chain, POST).await;
    }
    assert_eq!(chain.retries("response_unwanted"), again);
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_does_not_come_is_a_504_that_says_so() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(300),
        ..Default::default()
    };
    let chain = before(&[silent().await, silent().await], impatient).await;
    let answer = ask(&chain, ASK).await;
    assert!(
        answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"),
        "{answer}"
    );
    let status = "proxy-status: netting; error=http_response_timeout; details=\"response_timeout\"";
    assert!(answer.contains(status), "{answer}");
}

/// How many endpoints are ejected once this was sent, as far as it is taken, and is not
/// answered in time.
async fn ejected_after(request: String, timeout_ms: u64) -> u64 {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(timeout_ms),
        eject_after: Some(1),
        ..Default::default()
    };
    let chain = before(&[silent().await, silent().await], impatient).await;
    let (mut answers, mut says) = chain.connect().await.into_split();
    // The rest of it is not taken.
    let saying = spawn_local(async move {
        let _ = says.write_all(request.as_bytes()).await;
        std::future::pending::<()>().await;
    });
    let mut answer = [0; 12];
    let answered = answers.read_exact(&mut answer).await;
    answered.expect("it is answered");
    assert_eq!(&answer, b"HTTP/1.1 504");
    saying.abort();
    chain.count("netting_endpoint_ejections_total", &[])
}

#[tokio::test(flavor = "local")]
async fn a_client_that_pauses_amid_its_body_ejects_no_endpoint() {
    let post = |length, body| format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
    let chunk = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
    for amid in [post(3, "hi"), post(3, ""), chunk.to_owned()] {
        assert_eq!(ejected_after(amid, 300).await, 0);
    }
    let more_than_sockets_hold = "x".repeat(32 << 20);
    for waits_for_the_endpoint in [
        post(2, "hi"),
        post(more_than_sockets_hold.len(), &more_than_sockets_hold),
    ] {
        // Long enough for all that sockets hold to be sent.
        assert_eq!(ejected_after(waits_for_the_endpoint, 2000).await, 1);
    }
}

#[tokio::test(flavor = "local")]
async fn a_try_that_takes_too_long_is_followed_by_another_if_asked() {
    let impatient = v1::ServicePolicy {
        per_try_timeout_ms: Some(1000),
        ..retrying(on_503())
    };
    let chain = before(&[silent().await, endpoint(CLOSE).await], impatient).await;
    for _ in 0..3 {
        let answer = ask(&chain, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test(flavor = "local")]
async fn the_whole_request_ends_in_its_time_however_many_tries_are_left() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(50),
        per_try_timeout_ms: Some(20),
        retries: Some(10),
        ..retrying(on_503())
    };
    let chain = before(&[silent().await, silent().await], impatient).await;
    let answer = ask(&chain, ASK).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

const SLOW: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl";

/// A client and the application, which has begun to answer a service of this policy.
async fn begun(policy: v1::ServicePolicy) -> (Chain, TcpStream, TcpStream) {
    let (app, addr) = listen().await;
    let chain = before(&[addr], policy).await;
    let mut client = chain.connect().await;
    say(&mut client, GET).await;
    let mut app = accept(&app).await;
    expect(&mut app, GET).await;
    say(&mut app, SLOW).await;
    expect(&mut client, SLOW).await;
    (chain, client, app)
}

#[tokio::test(flavor = "local")]
async fn a_response_that_does_not_end_in_time_is_cut() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(PATIENCE_MS),
        eject_after: Some(1),
        ..Default::default()
    };
    let (chain, mut client, mut app) = begun(impatient).await;
    lose_patience().await;
    let cut = client.read(&mut [0]).await;
    let cut = cut.expect_err("not as if it were complete");
    assert_eq!(cut.kind(), io::ErrorKind::ConnectionReset);
    let told = app.read(&mut [0]).await;
    assert!(
        matches!(told, Ok(0) | Err(_)),
        "its application need not go on"
    );
    let labels = [r#"error_type="response_timeout""#, r#"status_code="200""#];
    while chain.requests(&labels) < 1 {
        tokio::task::yield_now().await;
    }
    let ejections = chain.count("netting_endpoint_ejections_total", &[]);
    assert_eq!(ejections, 0, "the reader may be the slow one");
}

#[tokio::test(flavor = "local")]
async fn a_try_is_over_once_the_head_is_there() {
    let impatient = v1::ServicePolicy {
        per_try_timeout_ms: Some(PATIENCE_MS),
        ..Default::default()
    };
    let (_chain, mut client, mut app) = begun(impatient).await;
    lose_patience().await;
    say(&mut app, "ow").await;
    expect(&mut client, "ow").await;
    say(&mut client, GET).await;
    expect(&mut app, GET).await;
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_outlasts_the_time_for_a_request() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(PATIENCE_MS),
        ..Default::default()
    };
    let (app, addr) = listen().await;
    let chain = before(&[addr], impatient).await;
    let mut client = chain.connect().await;
    let upgrade = "GET / HTTP/1.1\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\n";
    say(&mut client, upgrade).await;
    let mut app = accept(&app).await;
    expect(&mut app, upgrade).await;
    let yes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\n";
    say(&mut app, yes).await;
    expect(&mut client, yes).await;
    lose_patience().await;
    say(&mut client, "ping").await;
    expect(&mut app, "ping").await;
}

#[tokio::test(flavor = "local")]
async fn one_request_too_many_is_a_503_at_once() {
    let narrow = v1::ServicePolicy {
        max_pending: Some(1),
        ..Default::default()
    };
    let (app, addr) = listen().await;
    let chain = before(&[addr], narrow).await;
    let mut first = chain.connect().await;
    say(&mut first, GET).await;
    let mut app = accept(&app).await;
    expect(&mut app, GET).await;
    let answer = ask(&chain, ASK).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{answer}"
    );
    assert!(answer.contains("details=\"too_many_pending\""), "{answer}");
    say(&mut app, OK).await;
    expect(&mut first, OK).await;
    say(&mut first, GET).await;
    expect(&mut app, GET).await;
}

#[tokio::test(flavor = "local")]
async fn a_spent_budget_ends_retries() {
    let endpoints = [endpoint(BUSY).await, endpoint(BUSY).await];
    let chain = before(&endpoints, retrying(on_503())).await;
    for _ in 0..60 {
        let answer = ask(&chain, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 503 Busy"), "{answer}");
    }
    // Two for each request, until the hundred of an idle service and one for each
    // five requests are spent.
    let count = chain.retries("response_unwanted");
    assert!((100..=115).contains(&count), "{count} retries");
    let reached =
        r#"netting_tcp_limits_reached_total{direction="outbound",reason="retry_budget_spent"}"#;
    assert!(chain.metrics.expose().contains(reached));
}

#[tokio::test(flavor = "local")]
async fn a_failing_endpoint_is_ejected_and_half_of_them_stay() {
    let endpoints = [endpoint(BUSY).await, endpoint(CLOSE).await];
    let chain = before(&endpoints, v1::ServicePolicy::default()).await;
    let mut failures = 0;
    for _ in 0..100 {
        failures += u32::from(ask(&chain, ASK).await.starts_with("HTTP/1.1 503 "));
    }
    assert_eq!(failures, 5, "five in a row, then it is out");
    let reason = [r#"reason="failures_in_a_row""#];
    let ejections = chain.count("netting_endpoint_ejections_total", &reason);
    assert_eq!(ejections, 1, "{}", chain.metrics.expose());
    let busy = [endpoint(BUSY).await, endpoint(BUSY).await];
    let chain = before(&busy, v1::ServicePolicy::default()).await;
    for _ in 0..30 {
        let answer = ask(&chain, ASK).await;
        assert!(
            answer.starts_with("HTTP/1.1 503 Busy"),
            "the applications' own: {answer}"
        );
    }
}

#[tokio::test(flavor = "local")]
async fn the_body_of_a_request_that_failed_is_no_request() {
    let chain = before(&[nobody().await], v1::ServicePolicy::default()).await;
    let mut client = chain.connect().await;
    let post = |fields: &str, length: usize| {
        format!("POST / HTTP/1.1\r\nContent-Length:{length:05}\r\n{fields}\r\n")
    };
    // One read brings all of it. With a blank behind each colon the head has grown, and
    // the body does not go along with it.
    let fields = "a:b\r\n".repeat(50);
    let length = 16 * 1024 - post(&fields, 0).len();
    let body = format!("{GET}{}", "x".repeat(length - GET.len()));
    say(&mut client, GET).await;
    let fault = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\n\
         content-length: 25\r\n\
         proxy-status: netting; error=connection_refused; details=\"connect_refused\"\r\n\
         \r\nnetting: connect_refused\n";
    expect(&mut client, fault).await;
    say(&mut client, &format!("{}{body}", post(&fields, length))).await;
    let answer = rest(&mut client).await.expect("it is answered");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test(flavor = "local")]
async fn a_client_that_sends_all_before_it_reads_gets_its_answer_however_long_that_takes() {
    let chain = before(&[nobody().await], v1::ServicePolicy::default()).await;
    let mut client = chain.connect().await;
    say(
        &mut client,
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        say(&mut client, &chunk).await;
    }
    let answer = rest(&mut client).await.expect("it is answered");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn a_fault_does_not_keep_a_connection_of_http_1_0() {
    let chain = before(&[nobody().await], v1::ServicePolicy::default()).await;
    let kept = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = ask(&chain, kept).await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test(flavor = "local")]
async fn clients_that_break_the_rules_eject_no_endpoint() {
    let strict = v1::ServicePolicy {
        eject_after: Some(1),
        ..Default::default()
    };
    let (app, addr) = listen().await;
    let (other, other_addr) = listen().await;
    let chain = before(&[addr, other_addr], strict).await;
    for answer in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut client = chain.connect().await;
        say(
            &mut client,
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
        let mut app = tokio::select! {
            app = accept(&app) => app,
            app = accept(&other) => app,
        };
        say(&mut app, answer).await;
        expect(&mut client, answer).await;
        say(&mut client, "zz\r\n").await;
        let _ = rest(&mut client).await;
    }
    let ejections = chain.count("netting_endpoint_ejections_total", &[]);
    assert_eq!(ejections, 0, "{}", chain.metrics.expose());
}
