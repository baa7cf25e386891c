//! What an endpoint says that breaks the rules of HTTP/2, or seems to, frame by frame.

use super::{
    policy::{before, never_ejecting},
    rules::{
        ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, frame, next_frame,
    },
    *,
};

const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 8;
/// `:status: 200`, from HPACK's static table.
const OK: &[u8] = &[0x88];

/// What comes of a request that is answered so, and whether the connection is used again.
type Case = (&'static str, Vec<Vec<u8>>, &'static str, bool);

const CLOSED: &str = "502 netting; error=connection_terminated; details=\"upstream_closed\"";
const MALFORMED: &str = "502 netting; error=http_protocol_error; details=\"response_malformed\"";
const RESET: &str = "reset: PROTOCOL_ERROR";

/// An endpoint whose first connection answers the first request with these frames. All
/// others are answered with 200.
async fn saying(frames: Vec<u8>) -> (std::net::SocketAddr, Rc<Cell<usize>>) {
    let (listener, addr) = listen().await;
    let connections = Rc::new(Cell::new(0));
    let count = Rc::clone(&connections);
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.set(count.get() + 1);
            let says = (count.get() == 1).then(|| frames.clone());
            // One that is given up may still be written to.
            spawn_local(async move { drop(serve(stream, says).await) });
        }
    });
    (addr, connections)
}

async fn serve(mut stream: TcpStream, mut says: Option<Vec<u8>>) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut id = 1;
    loop {
        let (kind, _) = next_frame(&mut stream).await?;
        if kind == HEADERS {
            let ok = || frame(HEADERS, END_HEADERS | END_STREAM, id, OK);
            let answer = says.take().unwrap_or_else(ok);
            stream.write_all(&answer).await?;
            id += 2;
        }
    }
}

async fn outcome(client: &mut SendRequest<Bytes>) -> String {
    let reset = |error: h2::Error| format!("reset: {:?}", error.reason().expect("it has one"));
    let response = match ask(client, post("/")).await {
        Ok(response) => response,
        Err(error) => return reset(error),
    };
    let (head, mut body) = response.into_parts();
    if let Err(error) = read(&mut body).await {
        return reset(error);
    }
    let told = head.headers.get("proxy-status").map(HeaderValue::to_str);
    let told = told.map(|told| told.expect("it is text"));
    format!("{} {}", head.status.as_u16(), told.unwrap_or_default())
}

async fn come_to_this(cases: Vec<Case>) {
    for (what, frames, expected, stays) in cases {
        let (addr, connections) = saying(frames.concat()).await;
        let chain = before(&[addr], never_ejecting()).await;
        let mut client = client(&chain).await;
        assert_eq!(outcome(&mut client).await.trim_end(), expected, "{what}");
        assert_eq!(outcome(&mut client).await, "200 ", "after {what}");
        assert_eq!(connections.get() == 1, stays, "{what}");
    }
}

fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("a short text");
    let (name_bytes, value_bytes) = (length(name), length(value));
    let (name, value) = (name.as_bytes(), value.as_bytes());
    [&[0, name_bytes], name, &[value_bytes], value].concat()
}

fn head(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = fields.iter().flat_map(|(name, value)| field(name, value));
    let block: Vec<u8> = OK.iter().copied().chain(fields).collect();
    frame(HEADERS, END_HEADERS | flags, 1, &block)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let payload = [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

#[tokio::test(flavor = "local")]
async fn frames_that_break_the_rules_of_a_connection_end_it() {
    let ok = || head(END_STREAM, &[]);
    let begun = || frame(HEADERS, END_STREAM, 1, OK);
    let most = (u32::MAX >> 1).to_be_bytes();
    let ids = |of: u32| of.to_be_bytes();
    let cases = [
        ("DATA before a head", vec![frame(DATA, 0, 1, b"x")]),
        ("DATA on no stream", vec![frame(DATA, 0, 0, b"x")]),
        ("DATA on an idle stream", vec![frame(DATA, 0, 101, b"x")]),
        (
            "a head on an idle stream",
            vec![frame(HEADERS, END_HEADERS, 101, OK)],
        ),
        (
            "a stream of the endpoint's",
            vec![frame(HEADERS, END_HEADERS, 2, OK)],
        ),
        (
            "a reset of no stream",
            vec![frame(RST_STREAM, 0, 0, &[0; 4])],
        ),
        (
            "a reset of an idle stream",
            vec![frame(RST_STREAM, 0, 101, &[0; 4])],
        ),
        (
            "a promise",
            vec![frame(PUSH_PROMISE, END_HEADERS, 1, &ids(2))],
        ),
        (
            "CONTINUATION of nothing",
            vec![frame(CONTINUATION, END_HEADERS, 1, OK)],
        ),
        (
            "a PING within a block",
            vec![begun(), frame(PING, 0, 0, &[0; 8])],
        ),
        (
            "another's CONTINUATION",
            vec![begun(), frame(CONTINUATION, END_HEADERS, 3, &[])],
        ),
        (
            "a block that breaks off",
            vec![frame(HEADERS, END_HEADERS, 1, &[0x40])],
        ),
        (
            "a field of no table",
            vec![frame(HEADERS, END_HEADERS, 1, &[0xbe])],
        ),
        (
            "more padding than a frame",
            vec![frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0x88])],
        ),
        ("a PING on a stream", vec![frame(PING, 0, 1, &[0; 8])]),
        ("a short PING", vec![frame(PING, 0, 0, &[0; 7])]),
        ("a short reset", vec![frame(RST_STREAM, 0, 1, &[0; 3])]),
        ("a short GOAWAY", vec![frame(GOAWAY, 0, 0, &[0; 4])]),
        ("a GOAWAY on a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])]),
        ("settings on a stream", vec![frame(SETTINGS, 0, 1, &[])]),
        (
            "an acknowledgement too much",
            vec![frame(SETTINGS, ACK, 0, &[]).repeat(2)],
        ),
        ("a push that is neither on nor off", vec![setting(2, 2)]),
        ("a window over 2^31-1", vec![setting(4, 1 << 31)]),
        (
            "frames that may not be as large as all",
            vec![setting(5, 16_383)],
        ),
        ("frames larger than there are", vec![setting(5, 1 << 24)]),
        (
            "the connection's window by 0",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])],
        ),
        (
            "the connection's window over 2^31-1",
            vec![frame(WINDOW_UPDATE, 0, 0, &most)],
        ),
        (
            "a dependency of no stream",
            vec![frame(PRIORITY, 0, 0, &[0; 5])],
        ),
        (
            "no HTTP/2",
            vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()],
        ),
    ];
    let cases = cases.map(|(what, frames)| (what, frames, CLOSED, false));
    come_to_this(cases.into()).await;
    // Whoever has got an answer keeps it.
    let late = vec![ok(), frame(CONTINUATION, END_HEADERS, 1, OK)];
    come_to_this(vec![("CONTINUATION behind the end", late, "200", false)]).await;
}

#[tokio::test(flavor = "local")]
async fn a_response_that_breaks_a_rule_is_none_and_harms_no_other() {
    let (begun, end) = (|| head(0, &[]), || frame(DATA, END_STREAM, 1, b"two"));
    let trailers = |flags, block: &[u8]| frame(HEADERS, END_HEADERS | flags, 1, block);
    let length = |flags, length| head(flags, &[("content-length", length)]);
    let message = |what, frames| (what, frames, MALFORMED, true);
    let body = |what, frames| (what, frames, RESET, true);
    come_to_this(vec![
        message("no status", vec![trailers(END_STREAM, &field("a", "b"))]),
        message("two", vec![head(END_STREAM, &[(":status", "200")])]),
        message(
            "a field of HTTP/1",
            vec![head(END_STREAM, &[("connection", "close")])],
        ),
        message(
            "a coding of HTTP/1",
            vec![head(END_STREAM, &[("transfer-encoding", "chunked")])],
        ),
        message("a length and no body", vec![length(END_STREAM, "4")]),
        message("a length below 0", vec![length(END_STREAM, "-1")]),
        body("less body than announced", vec![length(0, "4"), end()]),
        body("more body than announced", vec![length(0, "1"), end()]),
        body(
            "less, and trailers",
            vec![length(0, "4"), trailers(END_STREAM, &field("a", "b"))],
        ),
        body(
            "trailers that end nothing",
            vec![begun(), trailers(0, &field("a", "b"))],
        ),
        body(
            "trailers of HTTP/1",
            vec![begun(), trailers(END_STREAM, &field("connection", "b"))],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "local")]
async fn what_an_endpoint_may_say_is_no_error() {
    let ok = || head(END_STREAM, &[]);
    let interim = |status: &str| frame(HEADERS, END_HEADERS, 1, &field(":status", status));
    let pieces = [
        frame(HEADERS, END_STREAM, 1, OK),
        frame(CONTINUATION, 0, 1, &field("a", "b")),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
    ];
    let stays = |what, frames| (what, frames, "200", true);
    come_to_this(vec![
        stays(
            "an unknown frame",
            vec![frame(0xbe, 0xff, 1, b"unknown"), ok()],
        ),
        stays("an unknown setting", vec![setting(0xbeef, 7), ok()]),
        stays("no table of fields", vec![setting(1, 0), ok()]),
        stays("a PING", vec![frame(PING, 0, 0, &[0; 8]), ok()]),
        stays(
            "an answer to no PING",
            vec![frame(PING, ACK, 0, &[0; 8]), ok()],
        ),
        stays(
            "a dependency",
            vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]), ok()],
        ),
        stays(
            "a window",
            vec![frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), ok()],
        ),
        stays("a head in pieces", pieces.into()),
        stays(
            "interim responses",
            vec![interim("100"), interim("103"), ok()],
        ),
        stays(
            "padding",
            vec![
                head(0, &[]),
                frame(DATA, END_STREAM | PADDED, 1, &[2, 7, 0, 0]),
            ],
        ),
        stays(
            "a body behind the end",
            vec![ok(), frame(DATA, 0, 1, b"late")],
        ),
        stays(
            "a reset behind the end",
            vec![ok(), frame(RST_STREAM, 0, 1, &[0; 4])],
        ),
    ])
    .await;
}
