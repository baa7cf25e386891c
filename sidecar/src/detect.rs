//! Which protocol a client speaks, by its first bytes.

mod tls;

/// What a connection carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// The applications' own TLS, which stays theirs. With the name that the client
    /// asks for, if it says one.
    Tls(Option<String>),
    /// Anything else: bytes.
    Opaque,
}

/// What a prefix of the client's bytes says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// This protocol.
    Is(Protocol),
    /// Not enough yet to tell.
    NeedMore,
}

/// As many bytes as are ever looked at. A request line that is longer than this is
/// known by how its target begins, and a TLS hello is taken for one without a name.
pub const PREFIX_BYTES: usize = 4096;

/// RFC 9113 section 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest that is registered, `UPDATEREDIRECTREF`, has 17.
const METHOD_BYTES: usize = 24;

impl Protocol {
    /// As in logs and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Tls(_) => "tls",
            Protocol::Opaque => "opaque",
        }
    }
}

/// Looks at all that a client has sent so far, of which at most [`PREFIX_BYTES`]
/// count.
#[must_use]
pub fn detect(prefix: &[u8]) -> Detection {
    let full = prefix.len() >= PREFIX_BYTES;
    let detected = match prefix.first() {
        None => Detection::NeedMore,
        Some(&tls::HANDSHAKE) => tls::detect(prefix),
        Some(b'P') if is_start_of_preface(prefix) => {
            if prefix.len() < HTTP2_PREFACE.len() {
                Detection::NeedMore
            } else {
                Detection::Is(Protocol::Http2)
            }
        }
        Some(_) => request_line(prefix, full),
    };
    match detected {
        Detection::NeedMore if full && prefix[0] == tls::HANDSHAKE => {
            Detection::Is(Protocol::Tls(None))
        }
        detected => detected,
    }
}

fn is_start_of_preface(prefix: &[u8]) -> bool {
    let common = prefix.len().min(HTTP2_PREFACE.len());
    prefix[..common] == HTTP2_PREFACE[..common]
}

/// `method SP request-target SP HTTP/1.x` (RFC 9112 section 3). The line's end tells
/// HTTP from the many line protocols whose commands look like methods, whatever is asked
/// for; only where that is too far away, its target has to do.
fn request_line(prefix: &[u8], full: bool) -> Detection {
    const OPAQUE: Detection = Detection::Is(Protocol::Opaque);
    // Methods are case-sensitive (RFC 9110 section 9.1), and none that is in use has
    // lower-case letters.
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let length = prefix.iter().take_while(|byte| is_method(byte)).count();
    if length == 0 || length > METHOD_BYTES {
        return OPAQUE;
    }
    let target = match prefix.get(length) {
        None => return Detection::NeedMore,
        Some(b' ') => &prefix[length + 1..],
        Some(_) => return OPAQUE,
    };
    let end = target.iter().position(|byte| byte.is_ascii_control());
    let version = match end {
        None if !full => return Detection::NeedMore,
        None if is_long_target(target) => return Detection::Is(Protocol::Http1),
        None => return OPAQUE,
        Some(end) => target[..end].rsplit(|byte| *byte == b' ').next(),
    };
    match version {
        Some(b"HTTP/1.1" | b"HTTP/1.0") => Detection::Is(Protocol::Http1),
        _ => OPAQUE,
    }
}

/// Whether a request line may go on so that has thousands of bytes: with a path, or a
/// whole URI (RFC 9112 sections 3.2.1 and 3.2.2). There are no spaces within either, as
/// there are within most lines of a log, or commands with their values.
fn is_long_target(begun: &[u8]) -> bool {
    let mut words = begun.splitn(2, |byte| *byte == b' ');
    let target = words.next().unwrap_or_default();
    let behind = words.next().unwrap_or_default();
    let is_version = [b"HTTP/1.1", b"HTTP/1.0"]
        .iter()
        .any(|version| version.starts_with(behind));
    is_version && (target.starts_with(b"/") || is_uri(target))
}

/// `scheme "://"`, and whatever follows (RFC 3986 section 3.1).
fn is_uri(target: &[u8]) -> bool {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let length = target.iter().take_while(|byte| is_scheme(byte)).count();
    length > 0 && target[length..].starts_with(b"://")
}

#[cfg(test)]
pub(crate) mod tests;
