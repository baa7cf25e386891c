//! Header blocks, in every way that they can be written and in some that they cannot
//! (RFC 7541).

use std::io::Write as _;

use crate::{
    frames::{END_HEADERS, END_STREAM, Frame, HEADERS, Reaction, connect, field, frame, reaction},
    http2::{COMPRESSION_ERROR, are_errors, pod, react},
};

/// `GET http://app.test/`, all but the authority from the static table.
const GET: &[u8] = b"\x82\x86\x84\x01\x08app.test";

fn get_with(before: &[u8], behind: &[u8]) -> Vec<Frame> {
    let block = [before, GET, behind].concat();
    vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, block)]
}

#[test]
fn fields_are_read_however_they_are_written() {
    let pod = pod();
    for (what, before, behind) in [
        (
            "with a name of the static table",
            &b""[..],
            &b"\x0f\x2b\x01v"[..],
        ),
        (
            "into the dynamic table, and from there",
            b"",
            b"\x40\x01n\x01v\xbe\xbe",
        ),
        ("never into a table", b"", b"\x10\x01n\x01v"),
        ("with Huffman's code", b"", b"\x00\x82\x94\xe7\x82\x94\xe7"),
        ("without a value", b"", b"\x00\x01n\x00"),
        ("behind a smaller table", b"\x20", b"\x40\x01n\x01v"),
        (
            "behind two changes of the table",
            b"\x20\x3f\xe1\x1f",
            b"\x40\x01n\x01v\xbe",
        ),
    ] {
        let reaction = react(&pod, &get_with(before, behind));
        assert_eq!(reaction, Reaction::Answered { ok: true }, "{what}");
    }
}

#[test]
fn blocks_that_cannot_be_read_are_errors() {
    let cases = [
        ("index 0", &b"\x80"[..]),
        ("an index behind the dynamic table", b"\xbe"),
        ("a name from behind the dynamic table", b"\x7e\x01v"),
        (
            "an index that has no end",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ),
        ("a table that is larger than allowed", b"\x3f\xe2\x1f"),
        ("a change of the table behind a field", b"\x20"),
        (
            "Huffman's end of a string within it",
            b"\x00\x01n\x84\xff\xff\xff\xff",
        ),
        ("padding of a whole byte", b"\x00\x01n\x83\x94\xe7\xff"),
        ("padding with zeros", b"\x00\x01n\x81\x18"),
        ("a name that is longer than the block", b"\x00\x7fn"),
    ];
    let cases = cases.map(|(what, field)| (what, get_with(b"", field), &[COMPRESSION_ERROR][..]));
    are_errors(&cases);
}

#[test]
fn a_block_is_read_whatever_becomes_of_its_request() {
    // The second refers to what the first has put into the table, which is refused.
    let refused = [GET, b"\x40\x01n\x01v", &field("connection", "close")].concat();
    let refused = frame(HEADERS, END_HEADERS | END_STREAM, 1, refused);
    let good = frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        3,
        [GET, b"\xbe"].concat(),
    );
    let pod = pod();
    let mut stream = connect(&pod);
    let said = [refused.bytes(), good.bytes()].concat();
    stream.write_all(&said).expect("it is read");
    let reactions = [reaction(&mut stream), reaction(&mut stream)];
    let answered = Reaction::Answered { ok: true };
    assert!(reactions.contains(&answered), "{reactions:?}");
}
