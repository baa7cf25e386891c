//! The name that a TLS client asks for (RFC 8446 section 4.1.2, RFC 6066 section 3).

use super::{Detection, Protocol};

/// `ContentType.handshake`, the first byte of every TLS connection.
pub(super) const HANDSHAKE: u8 = 22;

const RECORD_HEADER_BYTES: usize = 5;
/// A plaintext record's limit, RFC 8446 section 5.1.
const RECORD_BYTES_MAX: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const NAME_BYTES_MAX: usize = 253;

/// Where a part of the hello ends before what it announces.
struct Short;

/// Takes a message apart from its front.
struct Reader<'b>(&'b [u8]);

/// Looks at bytes that begin with [`HANDSHAKE`]: is that a client's hello, and for
/// whom? The hello may be cut into several records.
pub(super) fn detect(prefix: &[u8]) -> Detection {
    let mut hello = Vec::new();
    let mut rest = prefix;
    loop {
        // The major version has been 3 ever since SSL 3.0.
        if !matches!(rest, [] | [HANDSHAKE] | [HANDSHAKE, 3, ..]) {
            return Detection::Is(Protocol::Opaque);
        }
        let Some((header, after)) = rest.split_at_checked(RECORD_HEADER_BYTES) else {
            return Detection::NeedMore;
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > RECORD_BYTES_MAX {
            return Detection::Is(Protocol::Opaque);
        }
        let part = &after[..length.min(after.len())];
        hello.extend_from_slice(part);
        match hello.first() {
            None => return Detection::NeedMore,
            Some(&CLIENT_HELLO) => {}
            Some(_) => return Detection::Is(Protocol::Opaque),
        }
        if let Some(whole) = whole_message(&hello) {
            return Detection::Is(Protocol::Tls(server_name(whole).unwrap_or(None)));
        }
        if part.len() < length {
            return Detection::NeedMore;
        }
        rest = &after[length..];
    }
}

/// The body of the handshake message, once all of it is there.
fn whole_message(hello: &[u8]) -> Option<&[u8]> {
    let (header, body) = hello.split_at_checked(4)?;
    let length =
        usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
    body.get(..length)
}

fn server_name(hello: &[u8]) -> Result<Option<String>, Short> {
    let mut hello = Reader(hello);
    hello.take(2)?; // legacy_version
    hello.take(32)?; // random
    hello.vec8()?; // legacy_session_id
    hello.vec16()?; // cipher_suites
    hello.vec8()?; // legacy_compression_methods
    let mut extensions = Reader(hello.vec16()?);
    while !extensions.0.is_empty() {
        let (kind, mut data) = (extensions.u16()?, Reader(extensions.vec16()?));
        if kind != SERVER_NAME {
            continue;
        }
        let mut names = Reader(data.vec16()?);
        while !names.0.is_empty() {
            let (kind, name) = (names.take(1)?[0], names.vec16()?);
            if kind == HOST_NAME {
                return Ok(host_name(name));
            }
        }
    }
    Ok(None)
}

/// Only what may be a name goes to logs.
fn host_name(bytes: &[u8]) -> Option<String> {
    let fits = (1..=NAME_BYTES_MAX).contains(&bytes.len());
    let is_plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*');
    if !fits || !bytes.iter().all(is_plain) {
        return None;
    }
    String::from_utf8(bytes.to_ascii_lowercase()).ok()
}

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], Short> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Short> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector with one byte of length.
    fn vec8(&mut self) -> Result<&'b [u8], Short> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    /// A vector with two bytes of length.
    fn vec16(&mut self) -> Result<&'b [u8], Short> {
        let length = self.u16()?;
        self.take(length.into())
    }
}
