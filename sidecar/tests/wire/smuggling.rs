//! Requests that two readers may take for different ones (RFC 9112, section 11.2).

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use crate::{
    app::Recorder,
    harness::{PATIENCE, namespace::dst, pod::Pod},
};

/// What must not reach the application as a request of its own.
pub(crate) const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// What the client got, and the application.
#[derive(Debug)]
struct Passed {
    answer: String,
    heard: String,
}

fn pass(mut stream: TcpStream, app: &Recorder, sent: &str) -> Passed {
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a socket can be set so");
    // It may be refused before the last byte is sent.
    let _ = stream.write_all(sent.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            panic!("{sent:?}: neither answered nor closed")
        }
        // A refusal may be followed by a reset.
        _ => {}
    }
    Passed {
        answer: String::from_utf8_lossy(&answer).into_owned(),
        heard: String::from_utf8_lossy(&app.take_heard()).into_owned(),
    }
}

/// Each is refused before any of what is smuggled gets to the application.
fn are_refused(requests: &[String]) {
    for (sent, passed) in pass_both_ways(requests) {
        let refused = passed.answer.is_empty() || is_refusal(&passed.answer);
        let reached = passed.heard.contains("smuggled");
        assert!(refused && !reached, "{sent:?}: {passed:?}");
    }
}

/// What a proxy says where it reads no request (RFC 9110, section 15.5.1), or one
/// whose framing it does not know (RFC 9112, section 6.1).
fn is_refusal(answer: &str) -> bool {
    ["HTTP/1.1 400 ", "HTTP/1.1 501 "]
        .iter()
        .any(|refusal| answer.starts_with(refusal))
}

/// As `are_refused`; or they arrive byte by byte, since they don't look like HTTP.
fn are_refused_or_not_read(requests: &[String]) {
    for (sent, passed) in pass_both_ways(requests) {
        let refused = !passed.heard.contains("smuggled") && !passed.answer.contains(" 200 ");
        assert!(refused || passed.heard == *sent, "{sent:?}: {passed:?}");
    }
}

/// What comes of each that is sent to the pod, and of each that is sent from it.
fn pass_both_ways(requests: &[String]) -> Vec<(&String, Passed)> {
    let (app, service) = (dst("10.0.0.2", 8080), dst("192.0.2.10", 80));
    let endpoint = dst("10.0.0.1", 8080);
    let pod = Pod::start(&[(service, endpoint)]);
    let inbound = Recorder::serve(pod.listen(app));
    let outbound = Recorder::serve(pod.peer_listen(endpoint));
    let mut outcomes = Vec::new();
    for sent in requests {
        let from_outside = pod.peer_connect(app);
        let from_inside = pod.connect(service);
        for (stream, recorder) in [(from_outside, &inbound), (from_inside, &outbound)] {
            let passed = pass(stream.expect("the sidecar accepts"), recorder, sent);
            outcomes.push((sent, passed));
        }
    }
    outcomes
}

/// A POST with these header lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}")
}

#[test]
fn a_body_with_two_lengths_is_refused() {
    let chunks = format!("0\r\n\r\n{SMUGGLED}");
    let lines = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "transfer-encoding: chunked\r\ncontent-length: 0",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 5\r\nX: y\r\ncontent-length: 50",
        "Content-Length: 5, 6",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
    ];
    are_refused(&lines.map(|lines| post(lines, &chunks)));
}

#[test]
fn a_length_that_is_no_number_is_refused() {
    let lengths = [
        "",
        "+5",
        "-1",
        "0x5",
        "5 5",
        "5,",
        "5;",
        "1e1",
        "5.0",
        "\u{b}5",
        "٥",
        "5, 5",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551621",
        "99999999999999999999999999",
    ];
    are_refused(&lengths.map(|length| post(&format!("Content-Length: {length}"), SMUGGLED)));
}

#[test]
fn a_transfer_coding_that_is_not_plainly_chunked_is_refused() {
    let chunks = format!("0\r\n\r\n{SMUGGLED}");
    let lines = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity, chunked, gzip",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunkedchunked",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: chun\u{212a}ed",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Transfer\u{0}-Encoding: chunked",
        "Transfer-\r\nEncoding: chunked",
        "Transfer_Encoding: chunked",
        "Content-Length: 5\r\nTransfer_Encoding: chunked",
        "Content_Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding\t: chunked",
        "Content-Length: 5\r\n Transfer-Encoding: chunked",
    ];
    let mut requests = lines.map(|lines| post(lines, &chunks)).to_vec();
    // HTTP/1.0 has no chunks (RFC 9112, section 6.1).
    requests.push(format!(
        "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
    ));
    are_refused(&requests);
}

#[test]
fn chunks_that_are_not_well_formed_end_the_request() {
    let bodies = [
        "x\r\n",
        "\r\n",
        "0x5\r\nabcde\r\n",
        "-5\r\nabcde\r\n",
        "+5\r\nabcde\r\n",
        " 5\r\nabcde\r\n",
        "5 5\r\nabcde\r\n",
        "10000000000000005\r\nabcde\r\n",
        "fffffffffffffffff\r\nabcde\r\n",
        "5\r\nabcdef\r\n",
        "5\r\nabcde0\r\n",
        "5\r\nabcde\n\n",
        "5\nabcde\r\n",
        "5\rabcde\r\n",
        "5;a\nb\r\nabcde\r\n",
        "5;a=\u{0}\r\nabcde\r\n",
        "5;a=b\r\rX\r\nabcde\r\n",
        "5;a=\"\r\nX\"\r\nabcde\r\n",
        "5;a=\"b\\\"\r\nabcde\r\n",
        "8000000000000005\r\nabcde\r\n",
        "ffffffffffffffff\r\nabcde\r\n",
    ];
    are_refused(&bodies.map(|body| {
        let chunks = format!("{body}0\r\n\r\n{SMUGGLED}");
        post("Transfer-Encoding: chunked", &chunks)
    }));
}

#[test]
fn header_lines_that_readers_disagree_on_are_refused() {
    let lines = [
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        "X: a\rTransfer-Encoding: chunked",
        "X: a\u{0}b",
        "X\u{0}: a",
        "X : a",
        "X\t: a",
        ": no name",
        "no colon",
        "(X): a",
        "X\u{e9}: a",
        "X: a\n\rY: b",
        "X: a\r\r\nY: b",
    ];
    let mut requests = lines
        .map(|lines| post(&format!("{lines}\r\nContent-Length: 0"), SMUGGLED))
        .to_vec();
    requests.push(format!("GET / HTTP/1.1\r\n Host: a\r\n\r\n{SMUGGLED}"));
    requests.push(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{SMUGGLED}"
    ));
    are_refused(&requests);
}

#[test]
fn request_lines_that_readers_disagree_on_are_refused() {
    let lines = [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/\tHTTP/1.1",
        " GET / HTTP/1.1",
        "GET / a HTTP/1.1",
        "GET /\u{0} HTTP/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/2.0",
        "GET / HTTP/1,1",
        "GET / http/1.1",
        "G(T / HTTP/1.1",
        "GET /",
    ];
    are_refused_or_not_read(&lines.map(|line| format!("{line}\r\nHost: a\r\n\r\n{SMUGGLED}")));
}
