//! HTTP/2 by prior knowledge, as little of it as a client needs that trusts its server.
//!
//! Windows are opened so far at the beginning that none has to be renewed.

use std::net::SocketAddr;

use anyhow::{bail, ensure};

use super::Dialect;

/// RFC 9113 section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_BYTES: usize = 9;
/// RFC 9113 section 6.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
}
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// What a connection's window is at the beginning.
const WINDOW_DEFAULT: u32 = 65_535;
/// `:status: 200` in HPACK's static table.
const STATUS_200: u8 = 0x88;

pub(super) struct Http2 {
    /// The request's header block.
    headers: Vec<u8>,
    /// The stream that is opened next: odd numbers for clients.
    next_stream: u32,
    /// The beginning of a frame.
    begun: Vec<u8>,
}

impl Http2 {
    pub(super) fn new(target: SocketAddr) -> Self {
        let authority = target.to_string();
        // GET, http and / from HPACK's static table; the authority as a literal with a name from
        // there, whose length fits the seven bits of its first byte.
        let mut headers = vec![0x82, 0x86, 0x84, 0x01];
        headers.push(u8::try_from(authority.len()).expect("an address has less than 127 bytes"));
        headers.extend_from_slice(authority.as_bytes());
        Self {
            headers,
            next_stream: 1,
            begun: Vec::new(),
        }
    }
}

impl Dialect for Http2 {
    fn greeting(&self) -> Vec<u8> {
        let mut setting = SETTINGS_INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        setting.extend_from_slice(&WINDOW_MAX.to_be_bytes());
        let opened = WINDOW_MAX - WINDOW_DEFAULT;
        [
            PREFACE,
            &frame(kind::SETTINGS, 0, 0, &setting),
            &frame(kind::WINDOW_UPDATE, 0, 0, &opened.to_be_bytes()),
        ]
        .concat()
    }

    fn request(&mut self) -> (u32, Vec<u8>) {
        let stream = self.next_stream;
        self.next_stream += 2;
        let flags = END_STREAM | END_HEADERS;
        (stream, frame(kind::HEADERS, flags, stream, &self.headers))
    }

    fn read(&mut self, bytes: &[u8]) -> anyhow::Result<(Vec<u32>, Vec<u8>)> {
        self.begun.extend_from_slice(bytes);
        let (mut answered, mut reply) = (Vec::new(), Vec::new());
        while let Some(frame) = Frame::first(&self.begun) {
            frame.take(&mut answered, &mut reply)?;
            let length = FRAME_HEADER_BYTES + frame.payload.len();
            self.begun.drain(..length);
        }
        Ok((answered, reply))
    }
}

/// A frame that was read.
struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first one, if it is there in full.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>()?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *header;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        Some(Self {
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & WINDOW_MAX,
            payload: rest.get(..length)?,
        })
    }

    /// Notes the stream that it ends, and what it wants to hear.
    fn take(&self, answered: &mut Vec<u32>, reply: &mut Vec<u8>) -> anyhow::Result<()> {
        match self.kind {
            kind::HEADERS => {
                let status = self.payload.first();
                ensure!(status == Some(&STATUS_200), "not 200: {:?}", self.payload);
            }
            kind::SETTINGS if self.flags & ACK == 0 => {
                reply.extend(frame(kind::SETTINGS, ACK, 0, &[]));
            }
            kind::PING if self.flags & ACK == 0 => {
                reply.extend(frame(kind::PING, ACK, 0, self.payload));
            }
            kind::RST_STREAM => bail!("stream {} was reset: {:?}", self.stream, self.payload),
            kind::GOAWAY => bail!("the server says goodbye: {:?}", self.payload),
            _ => {}
        }
        let may_end = [kind::HEADERS, kind::DATA].contains(&self.kind);
        if may_end && self.flags & END_STREAM != 0 {
            answered.push(self.stream);
        }
        Ok(())
    }
}

/// A frame to be written.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("what is written here is short");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}
