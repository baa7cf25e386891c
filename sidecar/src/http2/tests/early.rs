//! Responses that end before their requests (RFC 9113 section 8.1), frame by frame.

use netting_proto::v1;

use super::{
    policy::before,
    rules::{
        ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, frame, next_with_flags,
    },
    *,
};
use crate::proxy::chain::{PATIENCE_MS, lose_patience};

/// `POST http://a/`, from HPACK's static table.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'a'];
/// `content-type: application/grpc`, its name from there.
const OF_GRPC: &[u8] = b"\x0f\x10\x10application/grpc";
/// `:status: 200`.
const OK: &[u8] = &[0x88];

/// The client's connection and the application's.
struct Ends {
    chain: Chain,
    client: TcpStream,
    app: TcpStream,
}

/// Through the proxy before a service of this policy, or through both; a request has come
/// that begins so, and is not at its end.
async fn begun(policy: Option<v1::ServicePolicy>, request: &[u8]) -> Ends {
    let (listener, addr) = listen().await;
    let chain = match policy {
        Some(policy) => before(&[addr], policy).await,
        None => Chain::before(addr).await,
    };
    let mut client = chain.connect().await;
    let hello = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, request),
        frame(DATA, 0, 1, b"begun "),
    ];
    say(&mut client, &hello.concat()).await;
    let (mut app, _) = listener.accept().await.expect("the proxy connects");
    let read = app.read_exact(&mut [0; 24]).await;
    read.expect("it speaks");
    say(&mut app, &frame(SETTINGS, 0, 0, &[])).await;
    assert_eq!(next(&mut app).await.0, HEADERS);
    assert_eq!(next(&mut app).await, (DATA, 0, b"begun ".to_vec()));
    Ends { chain, client, app }
}

async fn say(stream: &mut TcpStream, frames: &[u8]) {
    let said = stream.write_all(frames).await;
    said.expect("the connection stays");
}

/// The next frame that is of a stream.
async fn next(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    loop {
        let frame = next_with_flags(stream).await.expect("the connection stays");
        if [DATA, HEADERS, RST_STREAM].contains(&frame.0) {
            return frame;
        }
        assert!([SETTINGS, WINDOW_UPDATE, GOAWAY].contains(&frame.0));
    }
}

fn reset(code: Code) -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &u32::from(code).to_be_bytes())
}

fn was_reset(code: Code) -> (u8, u8, Vec<u8>) {
    (RST_STREAM, 0, u32::from(code).to_be_bytes().to_vec())
}

impl Ends {
    /// The application answers, in a head alone or with a body, and ends its half.
    async fn answer(&mut self, body: Option<&[u8]>) {
        let ends = END_HEADERS | END_STREAM;
        let flags = body.map_or(ends, |_| END_HEADERS);
        say(&mut self.app, &frame(HEADERS, flags, 1, OK)).await;
        assert_eq!(next(&mut self.client).await.1, flags);
        if let Some(body) = body {
            say(&mut self.app, &frame(DATA, END_STREAM, 1, body)).await;
            self.hears(body).await;
        }
    }

    /// The client has got the rest of the response.
    async fn hears(&mut self, body: &[u8]) {
        let mut heard = Vec::new();
        loop {
            let (kind, flags, payload) = next(&mut self.client).await;
            assert_eq!(kind, DATA);
            heard.extend(payload);
            if flags == END_STREAM {
                break;
            }
        }
        assert_eq!(heard, body);
    }

    /// The request has been counted so, with a response of 200.
    async fn is_counted(&self, error: Option<&str>) {
        while self.chain.requests(&[]) < 1 {
            tokio::task::yield_now().await;
        }
        let of_error = error.map(|error| format!("error_type=\"{error}\""));
        let labels = [
            r#"status_code="200""#,
            of_error.as_deref().unwrap_or_default(),
        ];
        let exposition = self.chain.metrics.expose();
        assert_eq!(self.chain.requests(&labels), 1, "{exposition}");
        let any = self.chain.requests(&["error_type="]);
        assert_eq!(any, u64::from(error.is_some()), "{exposition}");
    }
}

#[tokio::test(flavor = "local")]
async fn the_rest_of_a_request_follows_its_response() {
    for body in [None, Some(&b"accepted"[..])] {
        let mut ends = begun(None, POST).await;
        ends.answer(body).await;
        for (part, flags) in [(&b"and "[..], 0), (b"ended", END_STREAM)] {
            say(&mut ends.client, &frame(DATA, flags, 1, part)).await;
            assert_eq!(next(&mut ends.app).await, (DATA, flags, part.to_vec()));
        }
        ends.is_counted(None).await;
        let sent = "http_client_request_body_size_bytes_sum";
        let sent = ends.chain.count(sent, &[]);
        assert_eq!(sent, 15, "{}", ends.chain.metrics.expose());
    }
}

#[tokio::test(flavor = "local")]
async fn more_of_the_rest_than_a_window_follows_as_it_is_taken() {
    let mut ends = begun(None, POST).await;
    ends.answer(None).await;
    let part = vec![7; 16 * 1024];
    let (mut said, mut heard) = (0, 0);
    // As much as the window of HTTP/2 before anybody opens it.
    while said < 48 * 1024 {
        say(&mut ends.client, &frame(DATA, 0, 1, &part)).await;
        said += part.len();
    }
    say(&mut ends.client, &frame(DATA, END_STREAM, 1, b"")).await;
    loop {
        let (kind, flags, payload) = next(&mut ends.app).await;
        assert_eq!(kind, DATA);
        heard += payload.len();
        if flags == END_STREAM {
            break;
        }
    }
    assert_eq!(heard, said);
}

#[tokio::test(flavor = "local")]
async fn an_upstream_that_wants_no_more_of_a_request_is_sent_none() {
    for code in [Code::NO_ERROR, Code::CANCEL] {
        let mut ends = begun(None, POST).await;
        let end = [
            frame(HEADERS, END_HEADERS, 1, OK),
            frame(DATA, END_STREAM, 1, b"enough"),
            reset(code),
        ];
        say(&mut ends.app, &end.concat()).await;
        assert_eq!(next(&mut ends.client).await.0, HEADERS);
        ends.hears(b"enough").await;
        assert_eq!(next(&mut ends.client).await, was_reset(Code::NO_ERROR));
        ends.is_counted(None).await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_client_that_does_not_go_on_after_its_answer_says_so_to_the_upstream() {
    let mut ends = begun(None, POST).await;
    ends.answer(Some(b"accepted")).await;
    say(&mut ends.client, &reset(Code::CANCEL)).await;
    assert_eq!(next(&mut ends.app).await, was_reset(Code::CANCEL));
    ends.is_counted(None).await;
}

#[tokio::test(flavor = "local")]
async fn the_rest_of_a_request_has_no_more_time_than_the_whole() {
    let impatient = v1::ServicePolicy {
        timeout_ms: Some(PATIENCE_MS),
        eject_after: Some(1),
        ..Default::default()
    };
    let mut ends = begun(Some(impatient), POST).await;
    ends.answer(Some(b"accepted")).await;
    lose_patience().await;
    assert_eq!(next(&mut ends.app).await, was_reset(Code::CANCEL));
    assert_eq!(next(&mut ends.client).await, was_reset(Code::NO_ERROR));
    ends.is_counted(Some("response_timeout")).await;
    let ejections = ends.chain.count("netting_endpoint_ejections_total", &[]);
    assert_eq!(ejections, 0, "the client is the slow one");
}

#[tokio::test(flavor = "local")]
async fn a_call_of_grpc_is_over_with_its_status() {
    let call = [POST, OF_GRPC].concat();
    let mut ends = begun(Some(v1::ServicePolicy::default()), &call).await;
    ends.answer(None).await;
    assert_eq!(next(&mut ends.app).await, was_reset(Code::CANCEL));
    assert_eq!(next(&mut ends.client).await, was_reset(Code::NO_ERROR));
}

#[tokio::test(flavor = "local")]
async fn a_drain_waits_for_the_rest_of_a_request() {
    let mut ends = begun(None, POST).await;
    ends.answer(None).await;
    ends.chain.outbound.proxy.http2.waiters.drain();
    ends.chain.outbound.proxy.http2.waiters.look();
    // The GOAWAY waits for what was on its way to the proxy.
    let ping = loop {
        let next = next_with_flags(&mut ends.client).await;
        if let (PING, 0, payload) = next.expect("the connection stays") {
            break payload;
        }
    };
    say(&mut ends.client, &frame(PING, ACK, 0, &ping)).await;
    say(&mut ends.client, &frame(DATA, END_STREAM, 1, b"ended")).await;
    let ended = (DATA, END_STREAM, b"ended".to_vec());
    assert_eq!(next(&mut ends.app).await, ended);
    let mut rest = Vec::new();
    let over = ends.client.read_to_end(&mut rest).await;
    over.expect("it ends in order");
}
