//! How connections end when the sidecar is told to.

use super::{
    rules::{ACK, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, SETTINGS},
    rules::{frame, next_with_flags},
    *,
};
use crate::{http::idle::Waiters, proxy::chain::DRAIN_QUIET};

#[tokio::test(flavor = "local")]
async fn draining_lets_streams_finish_and_takes_no_more() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let (chain, _) = app(move |_, respond| {
        let mut wait = wait.clone();
        async move {
            wait.wait_for(|go| *go).await.expect("the test tells");
            respond_ok(respond);
        }
    })
    .await;
    let stream = chain.connect().await;
    let (mut client, connection) = h2::client::handshake(stream).await.expect("it speaks");
    let connection = spawn_local(connection);
    let (running, _) = client
        .send_request(post("/"), true)
        .expect("it is connected");
    while chain.count("netting_tcp_connect_duration_seconds_count", &[]) < 1 {
        tokio::task::yield_now().await;
    }
    chain.outbound.proxy.http2.waiters.drain();
    chain.outbound.proxy.http2.waiters.look();
    go.send_replace(true);
    assert_eq!(running.await.expect("it finishes").status(), StatusCode::OK);
    let ended = connection.await.expect("it does not panic");
    assert!(ended.is_ok(), "{ended:?}");
    assert!(ask(&mut client, post("/")).await.is_err());
}

/// The client's proxy begins to drain.
fn drain(chain: &Chain) -> &Waiters {
    let waiters = &chain.outbound.proxy.http2.waiters;
    waiters.drain();
    waiters.look();
    waiters
}

async fn say(stream: &mut TcpStream, frames: &[Vec<u8>]) {
    let said = stream.write_all(&frames.concat()).await;
    said.expect("the connection stays");
}

/// The kinds of the frames that come until this one does.
async fn until(stream: &mut TcpStream, last: (u8, u8)) -> Vec<u8> {
    let mut kinds = Vec::new();
    loop {
        let next = next_with_flags(stream).await;
        let (kind, flags, _) = next.expect("the connection stays");
        if (kind, flags) == last {
            return kinds;
        }
        kinds.push(kind);
    }
}

/// As many libraries do, this client asks for nothing before it has the settings.
#[tokio::test(flavor = "local")]
async fn a_connection_that_comes_in_a_drain_has_a_stream_before_it_is_told_to_end() {
    let (chain, _) = app(async |_, respond| respond_ok(respond)).await;
    drain(&chain);
    let mut client = chain.connect().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    say(&mut client, &[preface, frame(SETTINGS, 0, 0, &[])]).await;
    let mut before = until(&mut client, (SETTINGS, 0)).await;
    // What is to be said at once is said before the answer to this.
    let settled = [frame(SETTINGS, ACK, 0, &[]), frame(PING, 0, 0, b"in order")];
    say(&mut client, &settled).await;
    before.extend(until(&mut client, (PING, ACK)).await);
    assert!(!before.contains(&GOAWAY), "{before:?}");
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, GET);
    say(&mut client, &[request]).await;
    let (mut heads, mut goaways) = (0, 0);
    while let Ok((kind, flags, payload)) = next_with_flags(&mut client).await {
        match kind {
            HEADERS => heads += 1,
            GOAWAY => goaways += 1,
            PING if flags != ACK => say(&mut client, &[frame(PING, ACK, 0, &payload)]).await,
            _ => {}
        }
    }
    // The last of them says which streams were taken.
    assert_eq!((heads, goaways), (1, 2));
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_comes_in_a_drain_and_asks_for_nothing_ends() {
    let (chain, _) = app(async |_, respond| respond_ok(respond)).await;
    let waiters = drain(&chain);
    let stream = chain.connect().await;
    let (_client, connection) = h2::client::handshake(stream).await.expect("it speaks");
    let look_after = async {
        loop {
            tokio::time::sleep(DRAIN_QUIET).await;
            waiters.look();
        }
    };
    let ended = tokio::select! {
        ended = connection => ended,
        () = look_after => unreachable!("it looks forever"),
    };
    assert!(ended.is_ok(), "{ended:?}");
}
