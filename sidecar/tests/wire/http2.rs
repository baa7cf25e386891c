//! What RFC 9113 demands of whoever reads frames, and a proxy reads all of them.

use std::io::Write as _;

use crate::{
    app::serve_http2,
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PADDED, PING,
        PRIORITY, PUSH_PROMISE, RST_STREAM, Reaction, SETTINGS, WINDOW_UPDATE, connect, field,
        frame, get, post, reaction, request,
    },
    harness::{namespace::dst, pod::Pod},
};

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
pub(crate) const COMPRESSION_ERROR: u32 = 9;

/// What is sent after the preface, and the code of the error that it is.
type Case = (&'static str, Vec<Frame>, &'static [u32]);

/// A pod whose application speaks HTTP/2.
pub(crate) fn pod() -> Pod {
    let pod = Pod::start(&[]);
    serve_http2(pod.listen(dst("10.0.0.2", 8080)));
    pod
}

pub(crate) fn react(pod: &Pod, frames: &[Frame]) -> Reaction {
    let mut stream = connect(pod);
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    // It may be given up before the last byte is sent.
    let _ = stream.write_all(&bytes);
    reaction(&mut stream)
}

/// An error of a stream may be treated as one of its connection (section 5.4.2), and
/// whoever gives up a connection may just close it (section 5.4.1). The general
/// PROTOCOL_ERROR stands for any that says more.
pub(crate) fn are_errors(cases: &[Case]) {
    let pod = pod();
    for (what, frames, codes) in cases {
        match react(&pod, frames) {
            Reaction::StreamError(code) | Reaction::ConnectionError(code) => {
                let named = code == PROTOCOL_ERROR || codes.contains(&code);
                assert!(named, "{what}: error {code}");
            }
            Reaction::Closed => {}
            other => panic!("{what}: {other:?}"),
        }
    }
    // Nobody else is disturbed.
    assert_eq!(react(&pod, &[get(1)]), Reaction::Answered { ok: true });
}

pub(crate) fn setting(id: u16, value: u32) -> Frame {
    let mut payload = id.to_be_bytes().to_vec();
    payload.extend(value.to_be_bytes());
    frame(SETTINGS, 0, 0, payload)
}

pub(crate) fn window_update(stream: u32, by: u32) -> Frame {
    frame(WINDOW_UPDATE, 0, stream, by.to_be_bytes())
}

#[test]
fn frames_of_a_wrong_size_are_errors() {
    are_errors(&[
        (
            "DATA over SETTINGS_MAX_FRAME_SIZE",
            vec![post(1), frame(DATA, END_STREAM, 1, [0; 16_385])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "HEADERS over SETTINGS_MAX_FRAME_SIZE",
            vec![frame(HEADERS, END_HEADERS, 1, [0; 16_385])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a short PING",
            vec![frame(PING, 0, 0, [0; 7])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a short SETTINGS",
            vec![frame(SETTINGS, 0, 0, [0; 5])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "an acknowledgement with settings",
            vec![frame(SETTINGS, ACK, 0, [0; 6])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a short RST_STREAM",
            vec![post(1), frame(RST_STREAM, 0, 1, [0; 3])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a short WINDOW_UPDATE",
            vec![frame(WINDOW_UPDATE, 0, 0, [0; 3])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "a short PRIORITY",
            vec![post(1), frame(PRIORITY, 0, 1, [0; 4])],
            &[FRAME_SIZE_ERROR],
        ),
        (
            "padding that is longer than its frame",
            vec![post(1), frame(DATA, PADDED, 1, [9, 0, 0])],
            &[PROTOCOL_ERROR],
        ),
    ]);
}

#[test]
fn header_blocks_may_be_split_but_not_interrupted() {
    let block = request("GET", &[("x-split", "in the middle of names")]);
    let (first, rest) = block.split_at(9);
    let mut pieces = vec![frame(HEADERS, END_STREAM, 1, first)];
    pieces.extend(
        rest.chunks(40)
            .map(|piece| frame(CONTINUATION, 0, 1, piece)),
    );
    pieces.push(frame(CONTINUATION, END_HEADERS, 1, []));
    assert_eq!(react(&pod(), &pieces), Reaction::Answered { ok: true });

    let begun = || frame(HEADERS, END_STREAM, 1, block[..9].to_vec());
    are_errors(&[
        (
            "a PING within",
            vec![begun(), frame(PING, 0, 0, [0; 8])],
            &[PROTOCOL_ERROR],
        ),
        (
            "another stream within",
            vec![begun(), get(3)],
            &[PROTOCOL_ERROR],
        ),
        (
            "another stream's CONTINUATION",
            vec![
                begun(),
                frame(CONTINUATION, END_HEADERS, 3, block[9..].to_vec()),
            ],
            &[PROTOCOL_ERROR],
        ),
        (
            "CONTINUATION of nothing",
            vec![frame(CONTINUATION, END_HEADERS, 1, block.clone())],
            &[PROTOCOL_ERROR],
        ),
        (
            "an index that is in no table",
            vec![frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                [0xff, 0xff, 0x7f],
            )],
            &[COMPRESSION_ERROR],
        ),
        (
            "a block that breaks off",
            vec![frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                block[..9].to_vec(),
            )],
            &[COMPRESSION_ERROR],
        ),
    ]);
}

#[test]
fn windows_neither_overflow_nor_are_overrun() {
    const MAX: u32 = (1 << 31) - 1;
    let overrun = (0..5).map(|_| frame(DATA, 0, 1, [0; 16_384]));
    are_errors(&[
        (
            "the connection's by 0",
            vec![window_update(0, 0)],
            &[PROTOCOL_ERROR],
        ),
        (
            "a stream's by 0",
            vec![post(1), window_update(1, 0)],
            &[PROTOCOL_ERROR],
        ),
        (
            "the connection's over 2^31-1",
            vec![window_update(0, MAX)],
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "a stream's over 2^31-1",
            vec![post(1), window_update(1, MAX)],
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "an initial one over 2^31-1",
            vec![setting(4, MAX + 1)],
            &[FLOW_CONTROL_ERROR],
        ),
    ]);
    // Five frames are more than the 65,535 bytes that one may send unasked; they are
    // taken only if the window had been made larger by then.
    let mut frames = vec![post(1)];
    frames.extend(overrun);
    frames.push(frame(DATA, END_STREAM, 1, []));
    let reaction = react(&pod(), &frames);
    let expected = [
        Reaction::Answered { ok: true },
        Reaction::StreamError(FLOW_CONTROL_ERROR),
        Reaction::ConnectionError(FLOW_CONTROL_ERROR),
    ];
    assert!(expected.contains(&reaction), "{reaction:?}");
}

#[test]
fn frames_in_the_wrong_state_of_a_stream_are_errors() {
    are_errors(&[
        (
            "DATA on an idle stream",
            vec![frame(DATA, 0, 1, [0])],
            &[PROTOCOL_ERROR],
        ),
        (
            "RST_STREAM on an idle stream",
            vec![frame(RST_STREAM, 0, 1, [0; 4])],
            &[PROTOCOL_ERROR],
        ),
        (
            "WINDOW_UPDATE on an idle stream",
            vec![window_update(1, 1)],
            &[PROTOCOL_ERROR],
        ),
        (
            "DATA on stream 0",
            vec![frame(DATA, 0, 0, [0])],
            &[PROTOCOL_ERROR],
        ),
        (
            "HEADERS on stream 0",
            vec![frame(HEADERS, END_HEADERS, 0, request("GET", &[]))],
            &[PROTOCOL_ERROR],
        ),
        (
            "SETTINGS on a stream",
            vec![frame(SETTINGS, 0, 1, [])],
            &[PROTOCOL_ERROR],
        ),
        (
            "PING on a stream",
            vec![frame(PING, 0, 1, [0; 8])],
            &[PROTOCOL_ERROR],
        ),
        (
            "GOAWAY on a stream",
            vec![frame(GOAWAY, 0, 1, [0; 8])],
            &[PROTOCOL_ERROR],
        ),
        (
            "a stream with an even number",
            vec![get(2)],
            &[PROTOCOL_ERROR],
        ),
        (
            "DATA behind the end of a stream",
            vec![
                post(1),
                frame(DATA, END_STREAM, 1, []),
                frame(DATA, 0, 1, [0]),
            ],
            &[STREAM_CLOSED],
        ),
        (
            "trailers that end nothing",
            vec![
                post(1),
                frame(HEADERS, END_HEADERS, 1, field("x-trailer", "t")),
            ],
            &[PROTOCOL_ERROR],
        ),
        (
            "a promise by a client",
            vec![post(1), frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2])],
            &[PROTOCOL_ERROR],
        ),
        ("ENABLE_PUSH 2", vec![setting(2, 2)], &[PROTOCOL_ERROR]),
        (
            "MAX_FRAME_SIZE 100",
            vec![setting(5, 100)],
            &[PROTOCOL_ERROR],
        ),
    ]);
}

#[test]
fn what_is_unknown_is_ignored_and_what_is_asked_is_answered() {
    let pod = pod();
    let odd = [
        frame(0xbe, 0xff, 0, *b"unknown"),
        setting(0xbeef, 7),
        frame(PRIORITY, 0, 1, [0, 0, 0, 0, 5]),
        frame(PING, 0, 0, *b"whatever"),
    ];
    assert_eq!(react(&pod, &odd), Reaction::Ponged(*b"whatever"));

    let mut padded = vec![3];
    padded.extend(request("GET", &[]));
    padded.extend([0; 3]);
    let flags = END_HEADERS | END_STREAM | PADDED;
    let padded = frame(HEADERS, flags, 1, padded);
    assert_eq!(react(&pod, &[padded]), Reaction::Answered { ok: true });

    let trailers = END_HEADERS | END_STREAM;
    let with_trailers = [
        post(1),
        frame(DATA, 0, 1, *b"body"),
        frame(HEADERS, trailers, 1, field("x-trailer", "t")),
    ];
    assert_eq!(react(&pod, &with_trailers), Reaction::Answered { ok: true });
}

#[test]
fn more_streams_than_allowed_are_refused_one_by_one() {
    // All that may be open at once, and some more: none of them ever ends.
    let open: Vec<_> = (0..1100).map(|at| post(2 * at + 1)).collect();
    let reaction = react(&pod(), &open);
    let expected = [
        Reaction::StreamError(REFUSED_STREAM),
        Reaction::ConnectionError(PROTOCOL_ERROR),
    ];
    assert!(expected.contains(&reaction), "{reaction:?}");
}
