//! Requests in well-formed frames that are none (RFC 9113, section 8).

use crate::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Reaction, fields, frame,
        request,
    },
    http2::{PROTOCOL_ERROR, pod, react},
};

const ENHANCE_YOUR_CALM: u32 = 11;

/// The answer is a refusal, or an error as above.
fn are_malformed(cases: &[(&'static str, Vec<Frame>)]) {
    let pod = pod();
    for (what, frames) in cases {
        let reaction = react(&pod, frames);
        let refused = matches!(
            reaction,
            Reaction::StreamError(PROTOCOL_ERROR)
                | Reaction::ConnectionError(PROTOCOL_ERROR)
                | Reaction::Answered { ok: false }
                | Reaction::Closed
        );
        assert!(refused, "{what}: {reaction:?}");
    }
}

#[test]
fn malformed_requests_are_refused() {
    let whole = |block: Vec<u8>| vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, block)];
    let with = |name, value| whole(request("GET", &[(name, value)]));
    let of = |list: &[(&str, &str)]| whole(fields(list));
    let (method, scheme) = ((":method", "GET"), (":scheme", "http"));
    let (path, authority) = ((":path", "/"), (":authority", "app.test"));
    are_malformed(&[
        ("a name in upper case", with("X-Upper", "a")),
        (
            "a header of HTTP/1 connections",
            with("connection", "keep-alive"),
        ),
        ("transfer-encoding", with("transfer-encoding", "chunked")),
        ("te: gzip", with("te", "gzip")),
        (
            "a line break in a value",
            with("x-break", "a\r\nx-smuggled: b"),
        ),
        ("a NUL in a value", with("x-nul", "a\0b")),
        ("a space in a name", with("x smuggled", "a")),
        ("an unknown pseudo-header", with(":unknown", "a")),
        ("a second path", with(":path", "/smuggled")),
        ("no method", of(&[scheme, path, authority])),
        ("no path", of(&[method, scheme, authority])),
        (
            "an empty path",
            of(&[method, scheme, (":path", ""), authority]),
        ),
        (
            "a pseudo-header behind a header",
            of(&[method, scheme, ("x-a", "b"), path, authority]),
        ),
        (
            "a response's pseudo-header",
            of(&[method, scheme, path, authority, (":status", "200")]),
        ),
        (
            "less body than announced",
            vec![
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    request("POST", &[("content-length", "9")]),
                ),
                frame(DATA, END_STREAM, 1, *b"four"),
            ],
        ),
        (
            "more body than announced",
            vec![
                frame(
                    HEADERS,
                    END_HEADERS,
                    1,
                    request("POST", &[("content-length", "1")]),
                ),
                frame(DATA, END_STREAM, 1, *b"four"),
            ],
        ),
    ]);
}

#[test]
fn more_headers_than_anybody_needs_are_refused() {
    let value = "v".repeat(1000);
    let block = request("GET", &[("x-many", value.as_str()); 100]);
    let (first, rest) = block.split_at(16_000);
    let mut frames = vec![frame(HEADERS, END_STREAM, 1, first)];
    frames.extend(
        rest.chunks(16_000)
            .map(|piece| frame(CONTINUATION, 0, 1, piece)),
    );
    frames.push(frame(CONTINUATION, END_HEADERS, 1, []));
    let reaction = react(&pod(), &frames);
    let refused = matches!(
        reaction,
        Reaction::Answered { ok: false }
            | Reaction::StreamError(_)
            | Reaction::ConnectionError(PROTOCOL_ERROR | ENHANCE_YOUR_CALM)
    );
    assert!(refused, "{reaction:?}");
}
