//! Frames that come at the wrong time, or at a time that only seems wrong (RFC 9113,
//! sections 5 to 8).

use std::{io::Write as _, net::TcpStream};

use crate::{
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PADDED, PING, PRIORITY,
        RST_STREAM, Reaction, connect, fields, frame, get, post, request,
    },
    http2::{
        FLOW_CONTROL_ERROR, PROTOCOL_ERROR, STREAM_CLOSED, are_errors, pod, react, setting,
        window_update,
    },
};

const PRIORITISED: u8 = 0x20;

fn reset(stream: u32) -> Frame {
    frame(RST_STREAM, 0, stream, [0, 0, 0, 8])
}

fn more(stream: u32) -> Frame {
    frame(
        CONTINUATION,
        END_HEADERS,
        stream,
        fields(&[("x-more", "m")]),
    )
}

#[test]
fn what_comes_behind_the_end_of_a_stream_is_an_error() {
    let end = || frame(DATA, END_STREAM, 1, []);
    are_errors(&[
        ("a second request", vec![get(1), get(1)], &[STREAM_CLOSED]),
        ("more of the head", vec![get(1), more(1)], &[PROTOCOL_ERROR]),
        (
            "more behind a body",
            vec![post(1), end(), more(1)],
            &[PROTOCOL_ERROR],
        ),
        (
            "DATA behind a reset",
            vec![post(1), reset(1), end()],
            &[STREAM_CLOSED],
        ),
        (
            "a request behind a reset",
            vec![post(1), reset(1), get(1)],
            &[STREAM_CLOSED],
        ),
        (
            "more of the head behind a reset",
            vec![post(1), reset(1), more(1)],
            &[PROTOCOL_ERROR],
        ),
        (
            "a number that was left out",
            vec![post(5), get(3)],
            &[PROTOCOL_ERROR],
        ),
    ]);
}

#[test]
fn what_belongs_to_no_stream_or_to_itself_is_an_error() {
    let block = request("GET", &[]);
    let flags = END_HEADERS | END_STREAM;
    let on_itself = [&[0, 0, 0, 1, 9][..], &block].concat();
    let padded = [&[255][..], &block].concat();
    let begun = || frame(HEADERS, END_STREAM, 1, block.clone());
    are_errors(&[
        (
            "a dependency of no stream",
            vec![frame(PRIORITY, 0, 0, [0; 5])],
            &[PROTOCOL_ERROR],
        ),
        (
            "a dependency on itself",
            vec![frame(PRIORITY, 0, 1, [0, 0, 0, 1, 9])],
            &[PROTOCOL_ERROR],
        ),
        (
            "a request that depends on itself",
            vec![frame(HEADERS, flags | PRIORITISED, 1, on_itself)],
            &[PROTOCOL_ERROR],
        ),
        ("a reset of no stream", vec![reset(0)], &[PROTOCOL_ERROR]),
        (
            "more of no stream's head",
            vec![begun(), more(0)],
            &[PROTOCOL_ERROR],
        ),
        (
            "an unknown frame within a head",
            vec![begun(), frame(0xbe, 0, 0, [0; 8]), more(1)],
            &[PROTOCOL_ERROR],
        ),
        (
            "more behind the head's end",
            vec![post(1), more(1)],
            &[PROTOCOL_ERROR],
        ),
        (
            "more padding than there is head",
            vec![frame(HEADERS, flags | PADDED, 1, padded)],
            &[PROTOCOL_ERROR],
        ),
        (
            "frames larger than there are",
            vec![setting(5, 1 << 24)],
            &[PROTOCOL_ERROR],
        ),
        (
            "CONNECT that is neither on nor off",
            vec![setting(8, 2)],
            &[PROTOCOL_ERROR],
        ),
        (
            "a stream's window over 2^31-1, in two steps",
            vec![
                post(1),
                window_update(1, 1 << 30),
                window_update(1, 1 << 30),
            ],
            &[FLOW_CONTROL_ERROR],
        ),
    ]);
}

#[test]
fn what_may_come_at_any_time_is_no_error() {
    let pod = pod();
    let served = Reaction::Answered { ok: true };
    let depends = |stream| frame(PRIORITY, 0, stream, [0, 0, 0, 9, 9]);
    for (what, frames) in [
        ("a window behind the end", vec![get(1), window_update(1, 1)]),
        ("a dependency behind the end", vec![get(1), depends(1)]),
        (
            "a dependency before the begin",
            vec![depends(1), depends(5), get(1)],
        ),
        (
            "a window behind a reset",
            vec![post(1), reset(1), window_update(1, 1), get(3)],
        ),
        (
            "a reset behind a reset",
            vec![post(1), reset(1), reset(1), get(3)],
        ),
        (
            "an answer to no PING",
            vec![frame(PING, ACK, 0, [0; 8]), get(1)],
        ),
        (
            "a reset for an unknown reason",
            vec![post(1), frame(RST_STREAM, 0, 1, [9; 4]), get(3)],
        ),
        (
            "DATA without data",
            vec![
                post(1),
                frame(DATA, 0, 1, []),
                frame(DATA, END_STREAM, 1, []),
            ],
        ),
    ] {
        assert_eq!(react(&pod, &frames), served, "{what}");
    }
}

/// The data that comes before this PING is answered.
fn data_before(stream: &mut TcpStream, ping: [u8; 8]) -> Vec<u8> {
    let asked = stream.write_all(&frame(PING, 0, 0, ping).bytes());
    asked.expect("it is read");
    let mut data = Vec::new();
    loop {
        let next = Frame::read(stream).expect("the connection stays");
        match next.kind {
            DATA => data.extend(next.payload),
            PING if next.flags == ACK && next.payload == ping => return data,
            _ => {}
        }
    }
}

#[test]
fn a_window_is_kept_to_however_it_changes() {
    let pod = pod();
    let mut stream = connect(&pod);
    let say = |stream: &mut TcpStream, frames: &[Frame]| {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        stream.write_all(&bytes).expect("it is read");
    };
    // The answer is how long the body is.
    let body = frame(DATA, END_STREAM, 1, [0; 12345]);
    say(&mut stream, &[setting(4, 0), post(1), body]);
    while Frame::read(&mut stream).expect("it answers").kind != HEADERS {}
    assert_eq!(data_before(&mut stream, [1; 8]), b"");
    say(&mut stream, &[setting(4, 2)]);
    assert_eq!(data_before(&mut stream, [2; 8]), b"12");
    say(&mut stream, &[window_update(1, 2)]);
    assert_eq!(data_before(&mut stream, [3; 8]), b"34");
    // Two less than nothing, and nothing.
    say(&mut stream, &[setting(4, 0), window_update(1, 2)]);
    assert_eq!(data_before(&mut stream, [4; 8]), b"");
    say(&mut stream, &[window_update(1, 1)]);
    assert_eq!(data_before(&mut stream, [5; 8]), b"5");
}
