use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::logging;

mod lifetimes;

/// A body of which nothing ever comes.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        Poll::Pending
    }
}

/// The admin server on a free port, and the readiness that it tells.
async fn started() -> (SocketAddr, Readiness) {
    let log = logging::detached("warn");
    let readiness = Readiness::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    let own = Router::new().route("/own", get(|| async { "mine" }));
    let router = Admin::new(readiness.clone(), log).router(own);
    tokio::spawn(serve(listener, router));
    (addr, readiness)
}

async fn ask(addr: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("the server listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers in UTF-8");
    answer
}

#[tokio::test]
async fn says_what_readiness_waits_for() {
    let (addr, readiness) = started().await;
    let synced = readiness.condition("catalog synced");
    let answer = ask(addr, "GET", "/ready", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("not ready: catalog synced\n"), "{answer}");
    synced.set(true);
    let answer = ask(addr, "GET", "/ready", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn refuses_a_bad_log_filter_and_keeps_the_old_one() {
    let (addr, _) = started().await;
    let answer = ask(addr, "PUT", "/log", "netting=loud").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = ask(addr, "GET", "/log", "").await;
    assert!(answer.ends_with("\r\n\r\nwarn\n"), "{answer}");
}

#[tokio::test]
async fn refuses_a_log_filter_from_another_host() {
    let log = logging::detached("warn");
    let peer = SocketAddr::from(([10, 0, 0, 7], 4000));
    let admin = Admin::new(Readiness::new(), log.clone());
    // The answer doesn't wait for a body that never comes.
    let answer = set_log_filter(
        State(admin),
        Extension(ConnectInfo(peer)),
        Request::new(Body::new(Endless)),
    );
    assert_eq!(answer.await.status(), StatusCode::FORBIDDEN);
    assert_eq!(log.current(), "warn");
}

#[tokio::test]
async fn serves_what_the_process_adds() {
    let (addr, _) = started().await;
    assert!(ask(addr, "GET", "/own", "").await.ends_with("mine"));
    assert!(ask(addr, "GET", "/live", "").await.ends_with("live\n"));
    assert!(
        ask(addr, "GET", "/nothing", "")
            .await
            .starts_with("HTTP/1.1 404")
    );
}

#[tokio::test]
async fn a_client_that_talks_nonsense_disturbs_nobody() {
    let (addr, _) = started().await;
    let mut silent = TcpStream::connect(addr).await.expect("the server listens");
    let mut garbled = TcpStream::connect(addr).await.expect("the server listens");
    garbled
        .write_all(b"\x16\x03\x01 half a hello")
        .await
        .expect("it is read");
    assert!(ask(addr, "GET", "/live", "").await.ends_with("live\n"));
    silent.shutdown().await.expect("it is still open");
}

#[tokio::test]
async fn who_holds_every_connection_keeps_nobody_out() {
    let (addr, _) = started().await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        held.push(TcpStream::connect(addr).await.expect("the server listens"));
    }
    assert!(ask(addr, "GET", "/live", "").await.ends_with("live\n"));
    let oldest = held[0].read(&mut [0]).await;
    assert!(matches!(oldest, Ok(0)), "it is closed: {oldest:?}");
    let newest = held.last().expect("there are some").try_read(&mut [0]);
    let waiting = newest.expect_err("it is open, and there is nothing to read");
    assert_eq!(waiting.kind(), std::io::ErrorKind::WouldBlock);
}
