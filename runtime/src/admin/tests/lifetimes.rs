//! How long a connection stays: until an answer that ends it, and never for ever.

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::Slots;

/// What either side may have sent that the other has not read.
const BUFFERED_BYTES: usize = 1024;
/// How long `/slow` takes from its first half to its second.
const SLOW: Duration = Duration::from_secs(30);

/// A body that comes as it is sent.
struct Sent(mpsc::Receiver<&'static str>);

impl hyper::body::Body for Sent {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(hyper::body::Frame::data(piece.into()))))
    }
}

async fn slow() -> Body {
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        for piece in ["first half,", "second half"] {
            // Nobody reads on where the connection has ended.
            let _ = sender.send(piece).await;
            sleep(SLOW).await;
        }
    });
    Body::new(Sent(pieces))
}

/// A connection, and the task that attends to it.
async fn connected() -> (DuplexStream, JoinHandle<()>) {
    let (client, server) = duplex(BUFFERED_BYTES);
    let router = Router::new()
        .route("/quick", get(|| async { "quick" }))
        .route("/slow", get(slow))
        .route("/large", get(|| async { "x".repeat(1 << 20) }))
        .route("/endless", get(|| async { Body::new(Endless) }));
    let peer = SocketAddr::from(([10, 0, 0, 7], 4000));
    let slots = Slots::new("connections", 1);
    let slot = slots.take(peer.ip()).await.expect("it is free");
    let accepted = Accepted::at(([10, 0, 0, 2], 15020).into(), slot.holder());
    let attending = async move {
        attend(server, peer, accepted, router).await;
        drop(slot);
    };
    (client, tokio::spawn(attending))
}

async fn send(client: &mut DuplexStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: pod\r\n\r\n");
    let sent = client.write_all(request.as_bytes()).await;
    sent.expect("the connection is open");
}

/// What comes until this, or until the connection ends.
async fn read_until(client: &mut DuplexStream, end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        let mut byte = [0];
        match client.read(&mut byte).await.expect("no reset is possible") {
            0 => return answer + "<end>",
            _ => answer.push(char::from(byte[0])),
        }
    }
    answer
}

/// Asks every five seconds, for as long.
async fn keep_alive(client: &mut DuplexStream, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        send(client, "/quick").await;
        let answer = read_until(client, "quick").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
        sleep(Duration::from_secs(5)).await;
    }
}

/// How long it takes until the server has ended the connection.
async fn ended(server: JoinHandle<()>) -> Duration {
    let begun = Instant::now();
    server.await.expect("it does not panic");
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_way_is_not_cut_off() {
    let (mut client, server) = connected().await;
    keep_alive(&mut client, KEEP_ALIVE_MAX - Duration::from_secs(5)).await;
    send(&mut client, "/slow").await;
    // It is whole, half a minute after the time that a connection is kept.
    let answer = read_until(&mut client, "\r\n0\r\n\r\n").await;
    assert!(answer.contains("first half,"), "{answer}");
    assert!(answer.contains("second half"), "{answer}");
    // Then there is one more.
    send(&mut client, "/quick").await;
    let answer = read_until(&mut client, "<no end>").await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nquick<end>"), "{answer}");
    assert_eq!(ended(server).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_and_again_connects_anew_after_a_minute() {
    let (mut client, server) = connected().await;
    keep_alive(&mut client, KEEP_ALIVE_MAX).await;
    // A request that meets the connection's time is answered all the same.
    send(&mut client, "/nothing").await;
    let answer = read_until(&mut client, "<no end>").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(ended(server).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_more_gives_its_place_back() {
    let (client, server) = connected().await;
    assert_eq!(ended(server).await, HEADER_TIMEOUT);
    drop(client);

    let (mut client, server) = connected().await;
    keep_alive(&mut client, KEEP_ALIVE_MAX - Duration::from_secs(5)).await;
    let rest = HEADER_TIMEOUT - Duration::from_secs(5);
    assert_eq!(ended(server).await, rest);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_byte_by_byte_does_not_hold_a_place() {
    let (mut client, server) = connected().await;
    let trickle = async {
        loop {
            // It ends with the connection.
            let sent = client.write_all(b"G").await;
            if sent.is_err() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    let (took, ()) = tokio::join!(ended(server), trickle);
    assert_eq!(took, HEADER_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_never_read_or_never_comes_does_not_hold_a_place_for_ever() {
    for path in ["/large", "/endless"] {
        let (mut client, server) = connected().await;
        send(&mut client, path).await;
        assert_eq!(ended(server).await, CONNECTION_TIME_MAX, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_gone_takes_its_place_along() {
    for path in ["/slow", "/endless"] {
        let (mut client, server) = connected().await;
        send(&mut client, path).await;
        read_until(&mut client, "\r\n\r\n").await;
        drop(client);
        let took = timeout(SLOW, ended(server)).await;
        assert_eq!(took, Ok(Duration::ZERO), "{path}");
    }
}
