//! Streams that are given up, beside others that go on over the same connection.

use h2::client::ResponseFuture;

use super::{
    policy::{before, get, never_ejecting},
    rules::{DATA, END_HEADERS, END_STREAM, GET, HEADERS, RST_STREAM, SETTINGS, frame, next_frame},
    *,
};

/// So many streams are given up.
const MANY: u32 = 200;
/// And so many frames come late for each of them.
const LATE: usize = 5;
/// `:status: 200`, from HPACK's static table.
const OK: &[u8] = &[0x88];

async fn next_of(kind: u8, stream: &mut TcpStream) {
    loop {
        let (is, _) = next_frame(stream).await.expect("the connection stays");
        assert_ne!(is, super::rules::GOAWAY, "the connection is given up");
        if is == kind {
            return;
        }
    }
}

/// Sends a request that is answered, and goes on.
async fn begun(client: &mut SendRequest<Bytes>, upstream: &mut TcpStream, id: u32) -> RecvStream {
    poll_fn(|cx| client.poll_ready(cx))
        .await
        .expect("it is connected");
    let (response, _): (ResponseFuture, _) =
        client.send_request(get(), true).expect("it is connected");
    let answer = async {
        next_of(HEADERS, upstream).await;
        let head = frame(HEADERS, END_HEADERS, id, OK);
        upstream.write_all(&head).await.expect("it is connected");
    };
    let (response, ()) = tokio::join!(response, answer);
    response.expect("it is answered").into_body()
}

#[tokio::test(flavor = "local")]
async fn downloads_that_are_cancelled_do_not_harm_the_one_beside_them() {
    let (listener, addr) = listen().await;
    let chain = before(&[addr], never_ejecting()).await;
    let (mut staying, mut leaving) = (client(&chain).await, client(&chain).await);
    let accept = async {
        let (mut upstream, _) = listener.accept().await.expect("the proxy connects");
        let mut preface = [0; 24];
        upstream.read_exact(&mut preface).await.expect("it speaks");
        let settings = frame(SETTINGS, 0, 0, &[]);
        upstream
            .write_all(&settings)
            .await
            .expect("it is connected");
        let response = frame(HEADERS, END_HEADERS, 1, OK);
        next_of(HEADERS, &mut upstream).await;
        upstream
            .write_all(&response)
            .await
            .expect("it is connected");
        upstream
    };
    let (response, _) = staying.send_request(get(), true).expect("it is connected");
    let (stays, mut upstream) = tokio::join!(response, accept);
    let mut stays = stays.expect("it is answered").into_body();

    // All of them were being answered when they were given up. No connection has so many
    // at a time.
    let ids: Vec<_> = (1..=MANY).map(|at| 2 * at + 1).collect();
    for some in ids.chunks(50) {
        let mut given_up = Vec::new();
        for id in some {
            given_up.push(begun(&mut leaving, &mut upstream, *id).await);
        }
        drop(given_up);
        for _ in some {
            next_of(RST_STREAM, &mut upstream).await;
        }
    }
    let late = ids
        .iter()
        .flat_map(|id| frame(DATA, 0, *id, b"late").repeat(LATE));
    let late: Vec<u8> = late.collect();
    let last = frame(DATA, END_STREAM, 1, b"whole");
    let said = [late, last].concat();
    upstream.write_all(&said).await.expect("it is connected");
    assert_eq!(read(&mut stays).await.expect("all of it"), b"whole");
    let connects = chain.count("netting_tcp_connect_duration_seconds_count", &[]);
    assert_eq!(connects, 1, "they shared one connection");
}

#[tokio::test(flavor = "local")]
async fn what_comes_late_for_streams_that_were_answered_early_does_not_end_the_others() {
    let (chain, _) = app(async |_request, respond| respond_ok(respond)).await;
    let mut stream = chain.connect().await;
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    stream.write_all(hello).await.expect("it is connected");
    let ours = frame(SETTINGS, 0, 0, &[]);
    stream.write_all(&ours).await.expect("it is connected");
    let ids = (0..MANY).map(|at| 2 * at + 1);
    for id in ids.clone() {
        let upload = frame(HEADERS, END_HEADERS, id, GET);
        stream.write_all(&upload).await.expect("it is connected");
        next_of(HEADERS, &mut stream).await;
        next_of(RST_STREAM, &mut stream).await;
    }
    let late: Vec<u8> = ids
        .flat_map(|id| frame(DATA, 0, id, b"late").repeat(LATE))
        .collect();
    stream.write_all(&late).await.expect("it is connected");
    let another = frame(HEADERS, END_HEADERS | END_STREAM, 2 * MANY + 1, GET);
    stream.write_all(&another).await.expect("it is connected");
    next_of(HEADERS, &mut stream).await;
}
