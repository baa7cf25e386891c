//! Frames of data without data, which some peers send before trailers.

use std::time::Duration;

use super::{
    rules::{
        DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame,
        next_with_flags,
    },
    *,
};

/// More than the library takes in all the time of a connection.
const MANY: u32 = 150;
/// `POST http://a/`, from HPACK's static table.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'a'];
/// `:status: 200`.
const OK: &[u8] = &[0x88];
/// `t: u`.
const TRAILERS: &[u8] = &[0, 1, b't', 1, b'u'];

/// A message's frames on the stream.
fn message(stream: u32, head: &[u8]) -> Vec<u8> {
    let frames = [
        frame(HEADERS, END_HEADERS, stream, head),
        frame(DATA, 0, stream, b"data"),
        frame(DATA, 0, stream, b""),
        frame(HEADERS, END_HEADERS | END_STREAM, stream, TRAILERS),
    ];
    frames.concat()
}

/// Reads the next message, and returns its body.
async fn next_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let next = next_with_flags(stream).await;
        let (kind, flags, payload) = next.expect("the connection stays");
        assert!(![GOAWAY, RST_STREAM].contains(&kind), "it is given up");
        if kind == DATA {
            body.extend(payload);
        }
        if kind == HEADERS && flags & END_STREAM != 0 {
            return body;
        }
    }
}

#[tokio::test(flavor = "local")]
async fn messages_with_a_frame_of_no_data_do_not_end_their_connection() {
    let (listener, addr) = listen().await;
    let chain = Chain::before(addr).await;
    let mut client = chain.connect().await;
    let settings = frame(SETTINGS, 0, 0, &[]);
    let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat();
    client.write_all(&hello).await.expect("it is connected");
    let request = message(1, POST);
    client.write_all(&request).await.expect("it is connected");
    let (mut app, _) = listener.accept().await.expect("the proxy connects");
    let preface = app.read_exact(&mut [0; 24]).await;
    preface.expect("it speaks");
    app.write_all(&settings).await.expect("it is connected");
    let passed = Cell::new(0);
    let exchange = async {
        for at in 0..MANY {
            let stream = 2 * at + 1;
            assert_eq!(next_message(&mut app).await, b"data", "request {at}");
            let response = message(stream, OK);
            app.write_all(&response).await.expect("it is connected");
            assert_eq!(next_message(&mut client).await, b"data", "response {at}");
            let request = message(stream + 2, POST);
            client.write_all(&request).await.expect("it is connected");
            passed.set(at);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), exchange).await;
    assert!(in_time.is_ok(), "{} were answered", passed.get());
}
