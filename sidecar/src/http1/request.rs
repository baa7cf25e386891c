//! A request's head: what it means for the connection, and how it is passed on.

use httparse::Status;

use super::{
    HEADERS_MAX,
    body::Body,
    fields::{Fields, line},
};
use crate::{http::host, reason::Reason};

/// A request whose head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// How many bytes the head has.
    pub(crate) length: usize,
    /// What follows it.
    pub(crate) body: Body,
    /// HTTP/1.1, not 1.0.
    pub(crate) is_11: bool,
    /// The client would send another one on the same connection.
    pub(crate) keeps_alive: bool,
    /// The upstream takes another one on the same connection, as far as it is told.
    pub(crate) keeps_upstream: bool,
    /// The answer has no body, whatever its head says.
    pub(crate) is_head: bool,
    /// The answer may turn the connection into a tunnel.
    pub(crate) is_connect: bool,
    /// Done twice, it does the same as done once (RFC 9110 section 9.2.2).
    pub(crate) is_idempotent: bool,
    /// It asks for another protocol.
    pub(crate) upgrades: bool,
}

/// Reads the request whose bytes begin here, and appends to `out` the head that is
/// sent on. Nothing, if the head is not all there. `tells_close` says that the
/// upstream is to know if this is the last request.
///
/// # Errors
/// Why the request is refused.
pub(crate) fn parse(
    bytes: &[u8],
    tells_close: bool,
    out: &mut Vec<u8>,
) -> Result<Option<Request>, Reason> {
    read(bytes, None, tells_close, out)
}

/// The same, with the bytes as they came if some of the target's are masked in `bytes`.
fn read(
    bytes: &[u8],
    unmasked: Option<&[u8]>,
    tells_close: bool,
    out: &mut Vec<u8>,
) -> Result<Option<Request>, Reason> {
    let mut headers = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Reason::RequestHeadTooLarge),
        Err(httparse::Error::Token) if unmasked.is_none() => {
            let masked = mask(bytes).ok_or(Reason::RequestMalformed)?;
            return read(&masked, Some(bytes), tells_close, out);
        }
        Err(_) => return Err(Reason::RequestMalformed),
    };
    let mut fields = Fields::of(parsed.headers).map_err(|_| Reason::RequestMalformed)?;
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Reason::RequestMalformed);
    };
    let target = match unmasked {
        None => target.as_bytes(),
        Some(bytes) => &bytes[target_at(bytes)..][..target.len()],
    };
    let is_11 = minor == 1;
    let body = framing(&fields, is_11).ok_or(Reason::RequestMalformed)?;
    fields.host = host(&fields, target)?;
    let keeps_alive = !fields.close && (is_11 || fields.keep_alive);
    let request = Request {
        length,
        body,
        is_11,
        keeps_alive,
        keeps_upstream: keeps_alive || is_11 && !tells_close,
        is_head: method == "HEAD",
        is_connect: method == "CONNECT",
        is_idempotent: ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(&method),
        upgrades: is_11 && fields.upgrades(),
    };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(if is_11 {
        b" HTTP/1.1\r\n"
    } else {
        b" HTTP/1.0\r\n"
    });
    fields.write(parsed.headers, request.upgrades, out);
    let option = match () {
        () if request.upgrades => "Upgrade",
        () if is_11 && !request.keeps_upstream => "close",
        () if !is_11 && request.keeps_alive => "keep-alive",
        () => "",
    };
    connection(option, is_11 && fields.takes_trailers, out);
    out.extend_from_slice(b"\r\n");
    Ok(Some(request))
}

/// What concerns this connection alone: `TE` does too (RFC 9110 section 10.1.4).
fn connection(option: &str, takes_trailers: bool, out: &mut Vec<u8>) {
    match (option, takes_trailers) {
        ("", false) => {}
        ("", true) => line("Connection", b"TE", out),
        (option, false) => line("Connection", option.as_bytes(), out),
        (option, true) => line("Connection", format!("{option}, TE").as_bytes(), out),
    }
}

/// The same bytes without those of the target that are not ASCII, in what may be the
/// Latin-1 of an old client. Such a target is no URI, but servers take it as it is, where
/// the parser wants UTF-8. Nothing, if there are none.
fn mask(bytes: &[u8]) -> Option<Vec<u8>> {
    let at = target_at(bytes);
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\n'));
    let length = end.unwrap_or(rest.len());
    if rest[..length].is_ascii() {
        return None;
    }
    let mut masked = bytes.to_vec();
    for byte in &mut masked[at..at + length] {
        *byte = if byte.is_ascii() { *byte } else { b'x' };
    }
    Some(masked)
}

/// Where the target begins: behind empty lines, the method, and a space.
fn target_at(bytes: &[u8]) -> usize {
    let is_of_lines_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    let method = bytes.iter().take_while(is_of_lines_end).count();
    let is_of_method = |byte: &&u8| **byte != b' ';
    method + bytes[method..].iter().take_while(is_of_method).count() + 1
}

/// Where the body ends (RFC 9112 section 6.3); nothing, if there is doubt.
fn framing(fields: &Fields<'_>, is_11: bool) -> Option<Body> {
    // RFC 9112 section 3.2 has these refused. It would have a request of HTTP/1.1
    // without any host refused too: whether it needs one is left to the application,
    // which answers for itself as it would without a proxy, and where the request goes
    // does not depend on it.
    if fields.bad_host {
        return None;
    }
    // What is said twice has no honest sender here, and some read it as said not at all.
    if fields.repeated || fields.resembled {
        return None;
    }
    match (fields.coded, fields.length) {
        (false, length) => Some(Body::Length(length.unwrap_or(0))),
        // Of other codings nobody knows whether the application knows them (RFC 9112
        // section 6.1), and who doesn't may see no chunks.
        (true, None) if is_11 && fields.chunked && !fields.coded_otherwise => Some(Body::CHUNKED),
        (true, _) => None,
    }
}

/// What `Host` is to say, if there is one. A target may name a host itself, and means that
/// one (RFC 9112 section 3.2.2), but not everybody looks there.
fn host<'h>(fields: &Fields<'h>, target: &'h [u8]) -> Result<Option<&'h [u8]>, Reason> {
    let (Some(host), Some((scheme, authority))) = (fields.host, host::in_target(target)) else {
        return Ok(fields.host);
    };
    let are_same = host::are_same(authority, host, host::default_port(scheme));
    match (authority, host::is_valid(authority)) {
        (_, false) => Err(Reason::RequestMalformed),
        (b"", true) => Ok(fields.host),
        (_, true) => Ok(Some(if are_same { host } else { authority })),
    }
}

#[cfg(test)]
mod tests;
