//! Real sockets: what each question asks of an application, and what it makes of
//! the answer.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use axum::body::Body;
use netting_runtime::Slots;
use netting_telemetry::Metrics;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

mod servers;

use servers::{Health, Script};

const OWN: OwnPorts = OwnPorts {
    outbound: 15001,
    inbound: 15006,
    admin: 15020,
};

fn probe(occasion: &str, handler: Value, port: u16) -> Probe {
    let path = format!("/probe/web/{occasion}");
    let mut written = json!({"port": port, "timeoutSeconds": 1});
    let handler = handler.as_object().expect("one handler").clone();
    written.as_object_mut().expect("an object").extend(handler);
    let probes: Probes = json!({ &path: written })
        .to_string()
        .parse()
        .expect("a probe");
    probes.0[&path].clone()
}

/// Asks an application on loopback, which stands for the pod's address.
async fn ask(occasion: &str, handler: Value, port: u16) -> Result<Answer, Failure> {
    let probe = probe(occasion, handler, port);
    let asking = Asking {
        pod: Ipv4Addr::LOCALHOST.into(),
        own: OWN,
        user_agent: HeaderValue::from_static("kube-probe/1.36"),
    };
    let asked = timeout(probe.timeout, probe.ask(&asking)).await;
    asked.unwrap_or(Err(Failure::Timeout(probe.timeout)))
}

async fn get(handler: Value, port: u16) -> Result<Answer, Failure> {
    ask("readiness", json!({ "httpGet": handler }), port).await
}

fn status_and_body(answer: Result<Answer, Failure>) -> (u16, String) {
    match answer.expect("it is answered") {
        Answer::Http { status, body, .. } => {
            (status.as_u16(), String::from_utf8_lossy(&body).into_owned())
        }
        Answer::Yes => panic!("an HTTP answer has a status"),
    }
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn every_handler() -> [Value; 4] {
    [
        json!({"tcpSocket": {"port": 1}}),
        json!({"grpc": {"port": 1}}),
        json!({"httpGet": {"port": 1}}),
        json!({"httpGet": {"port": 1, "scheme": "HTTPS"}}),
    ]
}

#[tokio::test]
async fn a_closed_port_fails_every_question() {
    for handler in every_handler() {
        let failure = ask("liveness", handler, closed_port()).await;
        assert!(matches!(failure, Err(Failure::Refused)), "{failure:?}");
    }
}

#[tokio::test]
async fn the_sidecars_own_ports_are_not_asked() {
    for handler in every_handler() {
        for port in [15001, 15006, 15020] {
            let failure = ask("liveness", handler.clone(), port).await;
            assert!(matches!(failure, Err(Failure::OwnPort(_))), "{failure:?}");
        }
    }
}

#[tokio::test]
async fn an_application_that_hangs_fails_in_time() {
    // Accepts, by its backlog, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    for handler in &every_handler()[1..] {
        let begun = Instant::now();
        let failure = ask("liveness", handler.clone(), port).await;
        assert!(matches!(failure, Err(Failure::Timeout(_))), "{failure:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "the kubelet's patience"
        );
    }
}

#[tokio::test]
async fn an_application_that_talks_something_else_fails() {
    for (handler, outcome) in [
        (
            json!({"grpc": {"port": 1}}),
            ["protocol_error", "rpc_failed"],
        ),
        (json!({"httpGet": {"port": 1}}), ["protocol_error"; 2]),
        (
            json!({"httpGet": {"port": 1, "scheme": "HTTPS"}}),
            ["tls_failed"; 2],
        ),
    ] {
        let server = Script::start(&["220 mail.example ESMTP\r\n"]).await;
        let failure = ask("liveness", handler, server.port).await;
        let failure = failure.expect_err("it is none of these").as_str();
        assert!(outcome.contains(&failure), "{failure}");
    }
}

#[tokio::test]
async fn an_open_port_passes() {
    let server = Script::start(&[""]).await;
    let answer = ask("liveness", json!({"tcpSocket": {"port": 1}}), server.port).await;
    assert!(matches!(answer, Ok(Answer::Yes)), "{answer:?}");
}

#[tokio::test]
async fn the_request_is_the_kubelets() {
    let server = Script::start(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"]).await;
    let handler = json!({"port": 1, "path": "/ready?full=1"});
    assert_eq!(
        status_and_body(get(handler, server.port).await),
        (200, "hi".to_owned())
    );
    let port = server.port;
    let expected = format!(
        "GET /ready?full=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: kube-probe/1.36\r\n\
         Connection: close\r\nAccept: */*\r\n\r\n"
    );
    assert_eq!(server.asked().await, expected);
}

#[tokio::test]
async fn a_probes_own_headers_replace_the_kubelets() {
    let server = Script::start(&["HTTP/1.1 204 No Content\r\n\r\n"]).await;
    let handler = json!({"port": 1, "httpHeaders": [
        {"name": "Host", "value": "web.example"},
        {"name": "User-Agent", "value": "checker"},
        {"name": "Accept", "value": ""},
        {"name": "X-Probe", "value": "1"},
        {"name": "X-Probe", "value": "2"},
    ]});
    assert_eq!(status_and_body(get(handler, server.port).await).0, 204);
    assert_eq!(
        server.asked().await,
        "GET / HTTP/1.1\r\nHost: web.example\r\nUser-Agent: checker\r\nConnection: close\r\n\
         X-Probe: 1\r\nX-Probe: 2\r\n\r\n"
    );
}

#[tokio::test]
async fn the_applications_status_and_words_are_passed_on() {
    for (status, outcome) in [(200, "passed"), (399, "passed"), (404, "failed_status")] {
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 4\r\n\r\nwhy?");
        let server = Script::start(&[answer.as_str()]).await;
        let answer = get(json!({"port": 1}), server.port).await;
        let known = answer.as_ref().expect("it is answered").as_str();
        assert_eq!(known, outcome);
        assert_eq!(status_and_body(answer), (status, "why?".to_owned()));
    }
}

#[tokio::test]
async fn what_a_credential_opens_is_not_passed_on() {
    let server = Script::start(&["HTTP/1.1 503 X\r\ncontent-length: 6\r\n\r\nsecret"]).await;
    let headers = json!([{"name": "Authorization", "value": "Bearer x"}]);
    let handler = json!({"port": 1, "httpHeaders": headers});
    let (status, body) = status_and_body(get(handler, server.port).await);
    assert_eq!((status, body.as_str()), (503, ""));
}

#[tokio::test]
async fn of_a_long_body_the_beginning_is_read_and_a_broken_one_fails() {
    let long = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n{}",
        "x".repeat(20_000)
    );
    let server = Script::start(&[long.as_str()]).await;
    let (_, body) = status_and_body(get(json!({"port": 1}), server.port).await);
    assert_eq!(body.len(), 10 * 1024);

    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\nx";
    let server = Script::start(&[broken]).await;
    let failure = get(json!({"port": 1}), server.port).await;
    assert!(matches!(failure, Err(Failure::Http(_))), "{failure:?}");
    // A hook only needs to be answered.
    let server = Script::start(&[broken]).await;
    let answer = ask("prestop", json!({"httpGet": {"port": 1}}), server.port).await;
    assert_eq!(status_and_body(answer).0, 200);
}

#[tokio::test]
async fn redirects_are_followed_within_the_pod() {
    let server = Script::start(&[
        "HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
    ])
    .await;
    let headers = json!([{"name": "Host", "value": "web.example"}]);
    let handler = json!({"port": 1, "path": "/here", "httpHeaders": headers});
    assert_eq!(status_and_body(get(handler, server.port).await).0, 500);
    server.asked().await;
    let second = server.asked().await;
    assert!(
        second.starts_with("GET /there HTTP/1.1\r\nHost: web.example\r\n"),
        "{second}"
    );
    let referer = format!("Referer: http://127.0.0.1:{}/here\r\n", server.port);
    assert!(second.contains(&referer), "{second}");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_left_to_the_kubelet() {
    let server = Script::start(&[
        "HTTP/1.1 301 X\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n",
    ])
    .await;
    let answer = get(json!({"port": 1}), server.port)
        .await
        .expect("it is answered");
    let response = answer.into_response();
    assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(response.headers()[header::LOCATION], "http://192.0.2.1/");
}

#[tokio::test]
async fn a_redirect_to_the_sidecar_or_in_circles_fails() {
    let to_itself = "HTTP/1.1 307 X\r\nlocation: ?\r\ncontent-length: 0\r\n\r\n";
    let server = Script::start(&[to_itself; 20]).await;
    let failure = get(json!({"port": 1}), server.port).await;
    assert!(matches!(failure, Err(Failure::Redirects)), "{failure:?}");
    let admin = "HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:15020/\r\ncontent-length: 0\r\n\r\n";
    let server = Script::start(&[admin]).await;
    let failure = get(json!({"port": 1}), server.port).await;
    assert!(
        matches!(failure, Err(Failure::OwnPort(15020))),
        "{failure:?}"
    );
}

#[tokio::test]
async fn any_certificate_will_do_over_either_http() {
    for alpn in ["http/1.1", "h2"] {
        let port = servers::https(alpn).await;
        let handler = json!({"port": 1, "scheme": "HTTPS", "path": "/secure", "httpHeaders": [
            {"name": "Host", "value": "web.example"},
        ]});
        let expected = format!("{alpn} web.example /secure kube-probe/1.36");
        assert_eq!(status_and_body(get(handler, port).await), (200, expected));
    }
}

#[tokio::test]
async fn a_hook_over_tls_falls_back_to_plain_text_without_its_credentials() {
    let plain = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let headers = json!([{"name": "Authorization", "value": "Bearer x"}]);
    let handler = json!({"httpGet": {"port": 1, "scheme": "HTTPS", "httpHeaders": headers}});

    let server = Script::start(&[plain, plain]).await;
    let failure = ask("liveness", handler.clone(), server.port).await;
    assert!(
        matches!(failure, Err(Failure::Tls(_))),
        "a probe does not: {failure:?}"
    );

    let server = Script::start(&[plain, plain]).await;
    let answer = ask("prestop", handler, server.port).await;
    assert_eq!(status_and_body(answer).0, 400);
    server.asked().await;
    let second = server.asked().await;
    assert!(second.starts_with("GET / HTTP/1.1\r\n"), "{second}");
    assert!(!second.contains("Bearer"), "{second}");
}

#[tokio::test]
async fn a_grpc_service_passes_only_if_it_is_serving() {
    for (health, outcome) in [
        (Health::Status(1), "passed"),
        (Health::Status(0), "not_serving"),
        (Health::Status(2), "not_serving"),
        (Health::Status(3), "not_serving"),
        (Health::Status(77), "not_serving"),
        (Health::Fails(12), "rpc_unimplemented"),
        (Health::Fails(5), "rpc_failed"),
    ] {
        let server = servers::grpc(health).await;
        let handler = json!({"grpc": {"port": 1, "service": "shop.v1"}});
        let asked = ask("liveness", handler, server.port).await;
        let known = asked.as_ref().map_or_else(Failure::as_str, Answer::as_str);
        assert_eq!(known, outcome, "{asked:?}");
        let asked = server.asked().await;
        let expected = "/grpc.health.v1.Health/Check \"\\n\\u{7}shop.v1\" kube-probe/1.36";
        assert!(asked.starts_with(expected), "{asked}");
    }
}

async fn routed(path: &str, local: &str) -> StatusCode {
    let probes = json!({"/probe/web/liveness": {"tcpSocket": {"port": 1}, "port": 1}});
    let metrics = ProbeMetrics::register(&Metrics::new("sidecar", "0.0.0"));
    let probes = probes.to_string().parse().expect("they are probes");
    let router = router(probes, OWN, metrics, Drain::new());
    let local: SocketAddr = local.parse().expect("it is an address");
    let slot = Slots::new("connections", 1).take(local.ip()).await;
    let slot = slot.expect("it is free");
    let accepted = Accepted::at(local, slot.holder());
    let mut request = axum::http::Request::new(Body::empty());
    *request.uri_mut() = path.parse().expect("it is a path");
    let response = router.layer(Extension(accepted)).oneshot(request).await;
    response.expect("it always answers").status()
}

#[tokio::test]
async fn only_the_pods_own_probes_are_asked_and_never_over_loopback() {
    for path in [
        "/probe/web/readiness",
        "/probe/web/liveness/",
        "/probe/web",
        "/probe/10.0.0.9/80",
        "/probe/web/liveness%2f",
    ] {
        assert_eq!(
            routed(path, "10.0.0.2:15020").await,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for local in ["127.0.0.1:15020", "[::1]:15020", "[::ffff:127.0.0.1]:15020"] {
        let status = routed("/probe/web/liveness?port=80", local).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{local}");
    }
}
