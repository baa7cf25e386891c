use std::net::Ipv4Addr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::terminate::Ask;

struct Server {
    port: u16,
    ask: Ask,
    task: JoinHandle<()>,
}

fn start(on_sigterm: OnSigterm, delay: Duration) -> Server {
    let pod = Pod {
        pod: "echo-1".to_owned(),
        version: "v2".to_owned(),
    };
    let listener = server::listen("http", 0, &pod).expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    let (ask, terminate) = Terminate::by_hand();
    let task = tokio::spawn(serve(
        listener,
        None,
        on_sigterm,
        App::new(pod, delay),
        terminate,
    ));
    Server { port, ask, task }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .expect("the server accepts")
    }

    /// Sends raw text, closes our side, and returns all of the answer as head and body.
    async fn send(&self, text: &str) -> (String, String) {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.expect("it reads");
        stream.shutdown().await.expect("our side closes");
        answer(stream).await
    }

    async fn get(&self, path: &str) -> (String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n"))
            .await
    }

    async fn stats(&self) -> Value {
        let (_, body) = self.get("/stats").await;
        serde_json::from_str(&body).expect("stats are JSON")
    }
}

async fn answer(mut stream: TcpStream) -> (String, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

fn server() -> Server {
    start(OnSigterm::Finish, Duration::ZERO)
}

#[tokio::test]
async fn refusals_say_how_to_ask() {
    let (head, body) = server().get("/bytes?n=many").await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(body.contains("/bytes?n=N"), "{body}");
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_disturbs_nobody() {
    let server = server();
    let (head, _) = server
        .send("\x16\x03\x01\x02\x00half a TLS hello\r\n\r\n")
        .await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    let (head, _) = server.get("/").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
}

#[tokio::test]
async fn the_echo_says_who_answered_and_what_it_saw() {
    let (head, body) = server()
        .send(
            "POST /reviews?id=1 HTTP/1.1\r\nHost: echo.demo\r\nX-Tag: a\r\nx-tag: b\r\n\
             content-length: 5\r\n\r\nhello",
        )
        .await;
    assert!(head.contains("\r\nx-pod: echo-1"), "{head}");
    assert!(head.contains("\r\nx-app-version: v2"), "{head}");
    let mut echo: Value = serde_json::from_str(&body).expect("the echo is JSON");
    let peer = echo["peer"].take();
    let peer: SocketAddr = peer.as_str().expect("a text").parse().expect("ip:port");
    assert_eq!(peer.ip(), Ipv4Addr::LOCALHOST);
    assert_eq!(
        echo,
        serde_json::json!({
            "pod": "echo-1", "version": "v2", "method": "POST", "path": "/reviews?id=1",
            "headers": {"host": "echo.demo", "x-tag": "a, b", "content-length": "5"},
            "peer": null, "body": "hello", "body_bytes": 5,
        })
    );
}

#[tokio::test]
async fn a_big_body_is_counted_whole_and_repeated_in_part() {
    let length = ECHOED_BYTES_MAX * 3;
    let head = format!("PUT / HTTP/1.1\r\nhost: echo\r\ncontent-length: {length}\r\n\r\n");
    let (_, body) = server().send(&(head + &"x".repeat(length))).await;
    let echo: Value = serde_json::from_str(&body).expect("the echo is JSON");
    assert_eq!(echo["body_bytes"], length);
    assert_eq!(echo["body"], "x".repeat(ECHOED_BYTES_MAX));
}

#[tokio::test]
async fn readiness_is_switched_by_put() {
    let server = server();
    assert!(server.get("/healthz").await.0.starts_with("HTTP/1.1 200 "));
    server
        .send("PUT /healthz?ready=false HTTP/1.1\r\nhost: echo\r\n\r\n")
        .await;
    assert!(server.get("/healthz").await.0.starts_with("HTTP/1.1 503 "));
    assert_eq!(server.stats().await["ready"], false);
    server
        .send("PUT /healthz?ready=true HTTP/1.1\r\nhost: echo\r\n\r\n")
        .await;
    assert!(server.get("/healthz").await.0.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn statuses_and_sizes_are_as_asked() {
    let server = server();
    let (head, _) = server.get("/status/503").await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let (head, body) = server.get("/bytes?n=100000").await;
    assert!(head.contains("\r\ncontent-length: 100000"), "{head}");
    assert_eq!(body.len(), 100_000);
}

#[tokio::test]
async fn stats_count_requests_but_not_health_checks() {
    let server = server();
    let idle = server.connect().await;
    for path in ["/", "/status/500", "/nowhere", "/healthz", "/stats"] {
        server.get(path).await;
    }
    let stats = server.stats().await;
    assert_eq!(stats["requests"], 3);
    assert_eq!(stats["in_flight"], 0);
    assert_eq!(stats["open_connections"], 2, "the idle one and this one");
    drop(idle);
}

#[tokio::test]
async fn slow_and_delay_add_up() {
    let server = start(OnSigterm::Finish, Duration::from_millis(30));
    let started = tokio::time::Instant::now();
    server.get("/slow?ms=30").await;
    assert!(started.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn finish_answers_what_is_in_flight_and_closes_idle_connections() {
    let mut server = start(OnSigterm::Finish, Duration::ZERO);
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow?ms=2000 HTTP/1.1\r\nhost: echo\r\n\r\n")
        .await
        .expect("it reads");
    while server.stats().await["in_flight"] != 1 {
        tokio::task::yield_now().await;
    }
    server.ask.ask();
    assert!(
        idle.read_u8().await.is_err(),
        "the idle connection is closed"
    );
    let (head, body) = answer(busy).await;
    assert!(head.contains("\r\nconnection: close"), "{head}");
    assert!(body.contains("/slow?ms=2000"), "{body}");
    (&mut server.task).await.expect("the server ends");
}
