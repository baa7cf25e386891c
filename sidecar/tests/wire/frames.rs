//! HTTP/2 frames (RFC 9113, section 4) and header blocks (RFC 7541), as bytes.

use std::{
    io::{self, Read, Write as _},
    net::TcpStream,
};

use crate::harness::{PATIENCE, namespace::dst, pod::Pod};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// One frame. Its length is what the payload has, also where that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Frame {
    Frame {
        kind,
        flags,
        stream,
        payload: payload.into(),
    }
}

impl Frame {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("tests are smaller");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    pub(crate) fn read(reader: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 9];
        reader.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        reader.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(frame(head[3], head[4], stream, payload))
    }

    /// The error code of RST_STREAM, or of GOAWAY.
    pub(crate) fn error_code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload[at..at + 4].try_into();
        u32::from_be_bytes(code.expect("it has 4 bytes"))
    }
}

/// A field that is in no table and enters none, not Huffman-coded (RFC 7541,
/// section 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        let mut rest = text.len();
        if rest < 127 {
            block.push(rest as u8);
        } else {
            block.push(127);
            rest -= 127;
            while rest >= 128 {
                block.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            block.push(rest as u8);
        }
        block.extend(text.as_bytes());
    }
    block
}

pub(crate) fn fields(of: &[(&str, &str)]) -> Vec<u8> {
    of.iter()
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

/// The header block of a request, with more fields behind what each has.
pub(crate) fn request(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = fields(&[
        (":method", method),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "app.test"),
    ]);
    block.extend(fields(more));
    block
}

/// A GET, whole.
pub(crate) fn get(stream: u32) -> Frame {
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        request("GET", &[]),
    )
}

/// The head of a POST.
pub(crate) fn post(stream: u32) -> Frame {
    frame(HEADERS, END_HEADERS, stream, request("POST", &[]))
}

/// Connects to the pod's application, and says the preface and the settings.
pub(crate) fn connect(pod: &Pod) -> TcpStream {
    let mut stream = pod
        .peer_connect(dst("10.0.0.2", 8080))
        .expect("the sidecar accepts");
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .expect("a socket can be set so");
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, []).bytes());
    stream.write_all(&hello).expect("it is read");
    stream
}

/// How a peer reacts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reaction {
    /// A response; whether with status 200.
    Answered { ok: bool },
    /// The stream was reset, with this code.
    StreamError(u32),
    /// The connection was given up, with this code.
    ConnectionError(u32),
    /// The PING with these bytes came back.
    Ponged([u8; 8]),
    /// Ended without a word, or with a reset.
    Closed,
}

/// Waits for the first reaction.
pub(crate) fn reaction(stream: &mut TcpStream) -> Reaction {
    loop {
        let frame = match Frame::read(stream) {
            Ok(frame) => frame,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("no reaction within {PATIENCE:?}")
            }
            Err(_) => return Reaction::Closed,
        };
        match frame.kind {
            // 0x88 is ":status: 200" in the static table.
            HEADERS => {
                return Reaction::Answered {
                    ok: frame.payload.contains(&0x88),
                };
            }
            RST_STREAM => return Reaction::StreamError(frame.error_code()),
            GOAWAY if frame.error_code() != 0 => {
                return Reaction::ConnectionError(frame.error_code());
            }
            PING if frame.flags == ACK => {
                let payload = frame.payload[..].try_into();
                return Reaction::Ponged(payload.expect("a PING has 8 bytes"));
            }
            _ => {}
        }
    }
}
