//! The webhook over real sockets and real TLS: both versions of HTTP, every kind of
//! bad input, and that none of it disturbs anybody else.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{advance, pause, resume, timeout},
};

use support::{Answered, Body, Client, HEAD, LINGER, Protocol, Webhook, recorded};

#[path = "https/support.rs"]
mod support;

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// Fails rather than hangs, should it never happen.
async fn soon<T>(happens: impl Future<Output = T>) -> T {
    let happened = timeout(Duration::from_secs(20), happens).await;
    happened.expect("it happens within 20 seconds")
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

#[tokio::test]
async fn a_recorded_request_is_answered_over_both_versions_of_http() {
    let webhook = Webhook::start().await;
    for protocol in BOTH {
        let answered = webhook
            .mutate(protocol, recorded("edge-none-restricted"))
            .await;
        assert_eq!(answered.status, StatusCode::OK);
        let review: Value = serde_json::from_slice(&answered.body).expect("the answer is JSON");
        assert_eq!(review["kind"], "AdmissionReview");
        assert_eq!(review["response"]["allowed"], true);
        assert_eq!(review["response"]["patchType"], "JSONPatch");
    }
}

#[tokio::test]
async fn warnings_and_reasons_come_with_the_answer_and_are_counted() {
    let webhook = Webhook::start().await;
    let answered = webhook
        .mutate(Protocol::Http2, recorded("edge-none-host-network"))
        .await;
    let review: Value = serde_json::from_slice(&answered.body).expect("the answer is JSON");
    assert_eq!(
        review["response"]["auditAnnotations"]["reason"],
        "host_network"
    );
    assert_eq!(
        review["response"]["warnings"].as_array().map(Vec::len),
        Some(1)
    );
    let exposition = webhook.metrics.expose();
    let series = r#"netting_admissions_total{decision="skip",reason="host_network"} 1"#;
    assert!(exposition.contains(series), "{exposition}");
}

#[tokio::test]
async fn what_is_no_admission_request_is_refused_with_the_reason() {
    let webhook = Webhook::start().await;
    for protocol in BOTH {
        for (body, says) in [
            ("", "no AdmissionReview"),
            ("{", "no AdmissionReview"),
            ("{}", "expected kind AdmissionReview"),
            (
                r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#,
                "no request",
            ),
        ] {
            let Answered { status, body } = webhook.mutate(protocol, body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            let text = String::from_utf8_lossy(&body);
            assert!(text.contains(says), "{text}: expected {says}");
        }
    }
}

#[tokio::test]
async fn other_content_types_methods_and_paths_are_refused() {
    let webhook = Webhook::start().await;
    let mut client = webhook.connect(Protocol::Http1).await;
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/jsonp"),
        Some("application/yaml"),
    ] {
        let answered = client
            .send(Method::POST, "/mutate", content_type, full("{}"))
            .await;
        assert_eq!(
            answered.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type:?}"
        );
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let answered = client
            .send(Method::POST, "/mutate", Some(content_type), full("{}"))
            .await;
        assert_eq!(
            answered.status,
            StatusCode::BAD_REQUEST,
            "{content_type} is JSON"
        );
    }
    let json = Some("application/json");
    let answered = client.send(Method::GET, "/mutate", json, full("")).await;
    assert_eq!(answered.status, StatusCode::METHOD_NOT_ALLOWED);
    let answered = client.send(Method::POST, "/", json, full("{}")).await;
    assert_eq!(answered.status, StatusCode::NOT_FOUND);
}

const MEBIBYTE: usize = 1024 * 1024;

#[tokio::test]
async fn a_body_over_three_mebibytes_is_refused_with_and_without_a_length() {
    let webhook = Webhook::start().await;
    let json = Some("application/json");
    let mut client = webhook.connect(Protocol::Http2).await;
    let long = full(vec![b' '; 3 * MEBIBYTE + 1]);
    let answered = client.send(Method::POST, "/mutate", json, long).await;
    assert_eq!(answered.status, StatusCode::PAYLOAD_TOO_LARGE);

    let chunk = |_| Ok(Frame::data(Bytes::from(vec![b' '; MEBIBYTE])));
    let chunks = StreamBody::new(futures_util::stream::iter((0..4).map(chunk)));
    let answered = client
        .send(Method::POST, "/mutate", json, BodyExt::boxed(chunks))
        .await;
    assert_eq!(answered.status, StatusCode::PAYLOAD_TOO_LARGE);

    // Over HTTP/1.1 the answer comes, and the connection goes, before the body is sent.
    let length = "content-length: 3145729\r\n\r\n".to_owned();
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(MEBIBYTE));
    let chunks = format!("transfer-encoding: chunked\r\n\r\n{}", chunk.repeat(4));
    for rest in [length, chunks] {
        let answer = webhook.raw_request(&rest).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }

    let answered = webhook
        .mutate(Protocol::Http1, vec![b' '; 3 * MEBIBYTE])
        .await;
    assert_eq!(
        answered.status,
        StatusCode::BAD_REQUEST,
        "three is read, and no review"
    );
}

#[tokio::test]
async fn a_request_for_something_else_is_allowed_without_a_patch() {
    let webhook = Webhook::start().await;
    let mut review: Value =
        serde_json::from_slice(&recorded("edge-none-restricted")).expect("JSON");
    for (field, value) in [
        ("operation", json!("DELETE")),
        (
            "resource",
            json!({"group": "apps", "version": "v1", "resource": "deployments"}),
        ),
        ("object", json!("no pod at all")),
    ] {
        review["request"][field] = value;
        let answered = webhook.mutate(Protocol::Http2, review.to_string()).await;
        assert_eq!(answered.status, StatusCode::OK);
        let answer: Value = serde_json::from_slice(&answered.body).expect("the answer is JSON");
        assert_eq!(answer["response"]["allowed"], true, "{field}");
        assert_eq!(answer["response"].get("patch"), None, "{field}");
    }
}

/// The first bytes of a TLS record that says it has 512, and doesn't.
const HALF_A_HELLO: [u8; 6] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];

#[tokio::test]
async fn clients_that_stall_before_tls_is_up_are_cut_off_and_disturb_nobody() {
    let webhook = Webhook::start().await;
    let mut stalled = Vec::new();
    for number in 0..50 {
        let mut client = TcpStream::connect(webhook.addr).await.expect("it listens");
        if number % 2 == 0 {
            client
                .write_all(&HALF_A_HELLO)
                .await
                .expect("it is connected");
        }
        stalled.push(client);
    }
    let mut plain = TcpStream::connect(webhook.addr).await.expect("it listens");
    plain
        .write_all(b"POST /mutate HTTP/1.1\r\n\r\n")
        .await
        .expect("it is connected");
    let mut rest = Vec::new();
    let _ = soon(plain.read_to_end(&mut rest)).await;
    assert!(!rest.starts_with(b"HTTP"), "no answer without TLS");

    for protocol in BOTH {
        let answered = webhook
            .mutate(protocol, recorded("edge-none-restricted"))
            .await;
        assert_eq!(answered.status, StatusCode::OK);
    }
    pause();
    advance(Duration::from_secs(6)).await;
    resume();
    for mut client in stalled {
        let read = soon(client.read(&mut [0; 64])).await;
        assert!(matches!(read, Ok(0) | Err(_)), "it is cut off: {read:?}");
    }
    let answered = webhook
        .mutate(Protocol::Http1, recorded("edge-none-restricted"))
        .await;
    assert_eq!(answered.status, StatusCode::OK);
}

#[tokio::test]
async fn clients_that_say_nothing_once_tls_is_up_are_cut_off() {
    let webhook = Webhook::start().await;
    for protocol in BOTH {
        let mut silent = webhook.tls(protocol).await;
        let mut half = webhook.tls(protocol).await;
        half.write_all(b"POST /mut").await.expect("it is connected");
        half.flush().await.expect("it is connected");
        // A round trip, so that the server has seen both.
        let answered = webhook
            .mutate(protocol, recorded("edge-none-restricted"))
            .await;
        assert_eq!(answered.status, StatusCode::OK);
        pause();
        advance(Duration::from_secs(11)).await;
        resume();
        for client in [&mut silent, &mut half] {
            let mut rest = Vec::new();
            let _ = soon(client.read_to_end(&mut rest)).await;
            assert!(
                !rest.windows(3).any(|bytes| bytes == b"200"),
                "nothing was asked"
            );
        }
    }
}

/// Asks something that is answered at once.
async fn ask(client: &mut Client) {
    let answered = client.send(Method::POST, "/mutate", None, full("{}")).await;
    assert_eq!(answered.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn the_api_server_is_the_one_who_ends_an_idle_connection() {
    let webhook = Webhook::start().await;
    for protocol in BOTH {
        let mut client = webhook.connect(protocol).await;
        ask(&mut client).await;
        pause();
        // Go's HTTP client keeps an idle connection for 90 seconds.
        advance(Duration::from_secs(91)).await;
        resume();
        ask(&mut client).await;
    }
}

#[tokio::test]
async fn who_asks_nothing_more_gives_its_place_back() {
    let webhook = Webhook::start().await;
    for protocol in BOTH {
        let mut client = webhook.connect(protocol).await;
        ask(&mut client).await;
        pause();
        advance(Duration::from_secs(121)).await;
        resume();
        soon(client.closed()).await;
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let webhook = Webhook::start().await;
    let mut client = webhook.tls(Protocol::Http1).await;
    let begun = format!("{HEAD}content-length: 1000\r\n\r\n{{");
    client
        .write_all(begun.as_bytes())
        .await
        .expect("it is connected");
    client.flush().await.expect("it is connected");
    webhook.requests_begun(1).await;
    pause();
    advance(Duration::from_secs(11)).await;
    resume();
    let mut answer = vec![0; 12];
    soon(client.read_exact(&mut answer))
        .await
        .expect("it is answered");
    assert_eq!(answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_drain_lingers_then_answers_what_is_in_flight_and_ends() {
    let webhook = Webhook::start().await;
    let mut idle = webhook.connect(Protocol::Http2).await;
    let answered = idle.send(Method::POST, "/mutate", None, full("{}")).await;
    assert_eq!(answered.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut in_flight = webhook.tls(Protocol::Http1).await;
    let begun = format!("{HEAD}content-length: 2\r\n\r\n");
    in_flight
        .write_all(begun.as_bytes())
        .await
        .expect("it is connected");
    in_flight.flush().await.expect("it is connected");
    webhook.requests_begun(2).await;

    webhook.drain.start();
    let answered = webhook.mutate(Protocol::Http1, "{}").await;
    assert_eq!(
        answered.status,
        StatusCode::BAD_REQUEST,
        "new connections are served for a while"
    );

    pause();
    advance(LINGER + Duration::from_millis(10)).await;
    resume();
    soon(idle.closed()).await;
    in_flight.write_all(b"{}").await.expect("it is still open");
    in_flight.flush().await.expect("it is still open");
    let mut rest = Vec::new();
    soon(in_flight.read_to_end(&mut rest))
        .await
        .expect("it ends in order");
    assert!(
        rest.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    soon(webhook.stopped()).await;
}

#[tokio::test]
async fn a_new_certificate_is_served_to_new_connections_and_drops_no_old_one() {
    let mut webhook = Webhook::start().await;
    for protocol in BOTH {
        let mut old = webhook.connect(protocol).await;
        let ask = || full(recorded("edge-none-restricted"));
        let json = Some("application/json");
        let answered = old.send(Method::POST, "/mutate", json, ask()).await;
        assert_eq!(answered.status, StatusCode::OK);
        // Trusts the new certificate's CA alone from here on.
        webhook.renew();
        let answered = webhook
            .mutate(protocol, recorded("edge-none-restricted"))
            .await;
        assert_eq!(answered.status, StatusCode::OK);
        let answered = old.send(Method::POST, "/mutate", json, ask()).await;
        assert_eq!(answered.status, StatusCode::OK, "{protocol:?}");
    }
}

#[tokio::test]
async fn while_it_drains_each_answer_over_http1_is_the_connections_last() {
    let webhook = Webhook::start().await;
    let mut http1 = webhook.connect(Protocol::Http1).await;
    let mut http2 = webhook.connect(Protocol::Http2).await;
    webhook.drain.start();
    for client in [&mut http1, &mut http2] {
        let answered = client.send(Method::POST, "/mutate", None, full("{}")).await;
        assert_eq!(answered.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    soon(http1.closed()).await;
    let answered = http2.send(Method::POST, "/mutate", None, full("{}")).await;
    assert_eq!(answered.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[test]
fn the_content_type_that_a_real_api_server_sends_is_taken() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/admission/edge-none-restricted.json"
    );
    let text = std::fs::read(file).expect("the fixture is there");
    let recorded: Value = serde_json::from_slice(&text).expect("a fixture is JSON");
    assert_eq!(recorded["headers"]["Content-Type"], "application/json");
    assert_eq!(recorded["path"], "/mutate?timeout=5s");
}
