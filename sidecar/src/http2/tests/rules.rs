//! What breaks the rules of HTTP/2, frame by frame.

use std::io;

use tokio::io::AsyncRead;

use super::*;

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short frame")
        .to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// Reads one frame: its kind and payload.
pub(super) async fn next_frame(
    reading: &mut (impl AsyncRead + Unpin),
) -> io::Result<(u8, Vec<u8>)> {
    let (kind, _, payload) = next_with_flags(reading).await?;
    Ok((kind, payload))
}

/// Reads one frame: its kind, flags and payload.
pub(super) async fn next_with_flags(
    reading: &mut (impl AsyncRead + Unpin),
) -> io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    reading.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    reading.read_exact(&mut payload).await?;
    Ok((head[3], head[4], payload))
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
/// `GET http://a/`, from HPACK's static table.
pub(super) const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];
/// The same without its host.
pub(super) const GET_PREFIX: &[u8] = GET.split_at(3).0;

/// Sends raw frames until the proxy hangs up, and returns the code that it gives.
async fn refused(frames: impl IntoIterator<Item = Vec<u8>>) -> Option<Code> {
    let (chain, _) = app(async |_, respond| respond_ok(respond)).await;
    refused_by(&chain, frames).await
}

async fn refused_by(chain: &Chain, frames: impl IntoIterator<Item = Vec<u8>>) -> Option<Code> {
    let mut stream = chain.connect().await;
    let hello = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
    ];
    let (mut reading, mut writing) = stream.split();
    let send = async {
        for frame in hello.into_iter().chain(frames) {
            if writing.write_all(&frame).await.is_err() {
                break;
            }
        }
        // What the proxy says of it is read first.
        std::future::pending::<()>().await;
    };
    let receive = async {
        loop {
            let (kind, payload) = next_frame(&mut reading).await.ok()?;
            if kind == GOAWAY {
                let code = payload[4..8].try_into().expect("four bytes");
                return Some(Code::from(u32::from_be_bytes(code)));
            }
        }
    };
    tokio::select! {
        code = receive => code,
        () = send => unreachable!("it waits for the proxy to hang up"),
    }
}

/// The proxy has hung up for it, and perhaps said why: what it had not read yet can
/// make the kernel drop its last word.
fn was_too_much(refusal: Option<Code>) -> bool {
    matches!(refusal, None | Some(Code::ENHANCE_YOUR_CALM))
}

#[tokio::test(flavor = "local")]
async fn frames_that_break_the_rules_end_the_connection() {
    let most = (u32::MAX >> 1).to_be_bytes();
    let too_long = vec![0; 16_385];
    for (frames, code) in [
        (vec![frame(DATA, 0, 0, b"x")], Code::PROTOCOL_ERROR),
        (vec![frame(DATA, 0, 1, b"x")], Code::PROTOCOL_ERROR),
        (
            vec![frame(CONTINUATION, END_HEADERS, 1, GET)],
            Code::PROTOCOL_ERROR,
        ),
        (
            vec![frame(HEADERS, END_HEADERS | END_STREAM, 2, GET)],
            Code::PROTOCOL_ERROR,
        ),
        (
            vec![
                frame(HEADERS, END_STREAM, 1, GET),
                frame(DATA, END_STREAM, 1, b"x"),
            ],
            Code::PROTOCOL_ERROR,
        ),
        (vec![frame(DATA, 0, 1, &too_long)], Code::FRAME_SIZE_ERROR),
        (
            vec![frame(WINDOW_UPDATE, 0, 0, &most)],
            Code::FLOW_CONTROL_ERROR,
        ),
    ] {
        let shown = format!("{:?}", frames.iter().map(|f| &f[..9]).collect::<Vec<_>>());
        assert_eq!(refused(frames).await, Some(code), "{shown}");
    }
}

#[tokio::test(flavor = "local")]
async fn streams_that_are_opened_to_be_reset_are_bounded() {
    let resets = (0..5000).flat_map(|n| {
        let stream = 2 * n + 1;
        let cancel = u32::from(Code::CANCEL).to_be_bytes();
        [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, GET),
            frame(RST_STREAM, 0, stream, &cancel),
        ]
    });
    // All in one, so that they come faster than streams can be taken.
    let at_once = [resets.flatten().collect()];
    let (chain, _) = app(async |_, respond| respond_ok(respond)).await;
    assert!(was_too_much(refused_by(&chain, at_once).await));
    let reason = [r#"reason="too_many_resets""#];
    let closed = chain.count("netting_tcp_connections_closed_total", &reason);
    assert_eq!(closed, 1, "{}", chain.metrics.expose());
}

#[tokio::test(flavor = "local")]
async fn a_head_without_end_is_bounded() {
    let begin = frame(HEADERS, END_STREAM, 1, GET);
    let more = frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y']);
    let flood = std::iter::once(begin).chain(std::iter::repeat_n(more, 100_000));
    assert!(was_too_much(refused(flood).await));
}

#[tokio::test(flavor = "local")]
async fn a_flood_of_data_that_is_none_is_bounded() {
    let begin = frame(HEADERS, END_HEADERS, 1, GET);
    let more = frame(DATA, 0, 1, b"");
    let flood = std::iter::once(begin).chain(std::iter::repeat_n(more, 100_000));
    assert!(was_too_much(refused(flood).await));
}

#[tokio::test(flavor = "local")]
async fn a_client_that_has_no_authority_but_a_host_is_understood() {
    let (listener, addr): (TcpListener, _) = listen().await;
    let chain = Chain::before(addr).await;
    let mut stream: TcpStream = chain.connect().await;
    let host = [&[0x82, 0x86, 0x84, 0, 4][..], b"host", &[1, b'a']].concat();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    hello.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &host));
    stream.write_all(&hello).await.expect("it is connected");
    let (stream, _) = listener.accept().await.expect("the proxy connects");
    let mut connection = h2::server::handshake(stream).await.expect("it speaks");
    let (request, _respond) = connection.accept().await.expect("one").expect("good");
    assert_eq!(request.uri(), "http://a/");
}

#[tokio::test(flavor = "local")]
async fn an_application_is_told_that_its_trailers_are_taken() {
    let (listener, addr): (TcpListener, _) = listen().await;
    let chain = Chain::before(addr).await;
    let mut stream: TcpStream = chain.connect().await;
    let te = [GET, &[0, 2][..], b"te", &[8], b"trailers"].concat();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    hello.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &te));
    stream.write_all(&hello).await.expect("it is connected");
    let (stream, _) = listener.accept().await.expect("the proxy connects");
    let mut connection = h2::server::handshake(stream).await.expect("it speaks");
    let (request, _respond) = connection.accept().await.expect("one").expect("good");
    let te: Vec<_> = request.headers().get_all("te").iter().collect();
    assert_eq!(te, ["trailers"]);
}

#[tokio::test(flavor = "local")]
async fn a_preface_that_begins_slowly_is_one() {
    let (listener, addr): (TcpListener, _) = listen().await;
    let chain = Chain::before(addr).await;
    let mut stream: TcpStream = chain.connect().await;
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, &[]));
    hello.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
    let (early, late) = hello.split_at(10);
    stream.write_all(early).await.expect("it is connected");
    let (app, _) = listener.accept().await.expect("the proxy connects");
    let mut heard = [0; 10];
    while app.peek(&mut heard).await.expect("it is connected") < early.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(heard, early, "it is passed on as it is");
    stream.write_all(late).await.expect("it is connected");
    let mut connection = h2::server::handshake(app).await.expect("it speaks");
    let (request, _respond) = connection.accept().await.expect("one").expect("good");
    assert_eq!(request.uri(), "http://a/");
}
