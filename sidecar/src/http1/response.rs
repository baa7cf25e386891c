//! A response's head: what it means for both connections, and how it is passed on.

use std::num::NonZeroU32;

use httparse::{Header, Status};

use super::{
    HEADERS_MAX,
    body::Body,
    fields::{Fields, line},
    request::Request,
};
use crate::{http::fault::Fault, policy::Reported, reason::Reason};

/// A response whose head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// How many bytes the head has.
    pub(crate) length: usize,
    /// Its status.
    pub(crate) status: u16,
    /// What it is to the request.
    pub(crate) kind: Kind,
    /// What a sidecar that made it reports of the request, as it says of itself.
    pub(crate) reported: Option<Reported>,
    /// What follows it.
    pub(crate) body: Body,
    /// The upstream takes another request on the same connection.
    pub(crate) upstream_stays: bool,
    /// For how many seconds it waits for that, if it says so.
    pub(crate) kept_seconds: Option<NonZeroU32>,
    /// The downstream may send another one.
    pub(crate) downstream_stays: bool,
}

/// What a response is to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Another one follows (1xx).
    Interim,
    /// The answer.
    Final,
    /// The answer, after which the connection is a tunnel.
    Tunnel,
}

/// What decides, beside the response itself, on the connections after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    /// The downstream connection may stay.
    pub(crate) downstream: bool,
    /// The downstream connection ends with the upstream one.
    pub(crate) together: bool,
}

/// Reads the response whose bytes begin here, and appends to `out` the head that is
/// sent on: none, for an interim one that the client would not understand. Nothing,
/// if the head is not all there.
///
/// # Errors
/// If there is doubt about it.
pub(crate) fn parse(
    bytes: &[u8],
    request: &Request,
    stay: Stay,
    out: &mut Vec<u8>,
) -> Result<Option<Response>, Reason> {
    match read(bytes, request, stay, out) {
        Err(Reason::ResponseMalformed) => {
            let unfolded = unfold(bytes).ok_or(Reason::ResponseMalformed)?;
            read(&unfolded, request, stay, out)
        }
        read => read,
    }
}

/// The same bytes with spaces where values of the head are folded, which is one of the two
/// things that may be done about them (RFC 9112 section 5.2). Nothing, if none is.
fn unfold(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut unfolded = bytes.to_vec();
    let (mut start, mut lines, mut folds) = (0, 0, 0);
    let mut is_value = false;
    while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let next = start + length + 1;
        let text = bytes[start..next - 1].strip_suffix(b"\r");
        let end = start + text.map_or(length, <[u8]>::len);
        if end == start && lines > 0 {
            break;
        }
        lines += usize::from(end > start);
        let is_continued = |at| matches!(bytes.get(at), Some(b' ' | b'\t'));
        // The first line is not continued, nor is a name.
        is_value =
            lines > 1 && (is_value && is_continued(start) || bytes[start..end].contains(&b':'));
        if is_value && is_continued(next) {
            unfolded[end..next].fill(b' ');
            folds += 1;
        }
        start = next;
    }
    (folds > 0).then_some(unfolded)
}

fn read(
    bytes: &[u8],
    request: &Request,
    stay: Stay,
    out: &mut Vec<u8>,
) -> Result<Option<Response>, Reason> {
    let mut headers = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    // What is between a name and its colon is to be removed (RFC 9112 section 5.1).
    config.allow_spaces_after_header_name_in_responses(true);
    let status = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut headers);
    let length = match status {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Reason::ResponseHeadTooLarge),
        Err(_) => return Err(Reason::ResponseMalformed),
    };
    let mut fields = Fields::of(parsed.headers).map_err(|_| Reason::ResponseMalformed)?;
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(Reason::ResponseMalformed);
    };
    let kind = kind(status, request);
    let body = framing(status, kind, request, &fields, minor == 1)?;
    let keeps_alive = !fields.close && (minor == 1 || fields.keep_alive);
    let upstream_stays =
        keeps_alive && request.keeps_upstream && kind != Kind::Tunnel && body != Body::UntilClose;
    let response = Response {
        length,
        status,
        kind,
        reported: reported(status, parsed.headers),
        body,
        upstream_stays,
        kept_seconds: fields.kept_seconds,
        downstream_stays: stay.downstream
            && request.keeps_alive
            && kind != Kind::Tunnel
            && body != Body::UntilClose
            && (upstream_stays || !stay.together),
    };
    if kind == Kind::Interim && !request.is_11 {
        return Ok(Some(response));
    }
    // The status line as it came, without its end: reasons are free text.
    let first = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let line_at = &bytes[first.unwrap_or(0)..];
    let end = line_at
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'));
    out.extend_from_slice(&line_at[..end.unwrap_or(0)]);
    out.extend_from_slice(b"\r\n");
    let upgrades = status == 101 || fields.upgrades();
    // No such response has one, nor may it say so (RFC 9110 section 8.6): those that say
    // how long it would be otherwise (HEAD, 304) do no harm.
    fields.bodiless = kind != Kind::Final || status == 204;
    fields.write(parsed.headers, upgrades, out);
    let is_11 = request.is_11 && minor == 1;
    connection(&response, is_11, (upgrades, stay.together), out);
    out.extend_from_slice(b"\r\n");
    Ok(Some(response))
}

fn reported(status: u16, headers: &[Header<'_>]) -> Option<Reported> {
    if status < 500 {
        return None;
    }
    let is_status = |header: &&Header<'_>| header.name.eq_ignore_ascii_case("proxy-status");
    let statuses = headers.iter().filter(is_status);
    Fault::reported(statuses.map(|header| header.value))
}

fn connection(
    response: &Response,
    is_11: bool,
    (upgrades, together): (bool, bool),
    out: &mut Vec<u8>,
) {
    match response.kind {
        Kind::Interim => {}
        Kind::Tunnel if upgrades => line("Connection", b"Upgrade", out),
        Kind::Tunnel => {}
        Kind::Final if !response.downstream_stays => line("Connection", b"close", out),
        // Either has to be told so (RFC 9112 section 9.3).
        Kind::Final if !is_11 => line("Connection", b"keep-alive", out),
        // 426 and others name what could be had.
        Kind::Final if upgrades => line("Connection", b"Upgrade", out),
        Kind::Final => {
            // The client's connection ends with the upstream's, and so when that does.
            if let Some(seconds) = response.kept_seconds.filter(|_| together) {
                let timeout = format!("timeout={seconds}");
                line("Connection", b"keep-alive", out);
                line("Keep-Alive", timeout.as_bytes(), out);
            }
        }
    }
}

fn kind(status: u16, request: &Request) -> Kind {
    match status {
        101 if request.upgrades => Kind::Tunnel,
        100..=199 => Kind::Interim,
        200..=299 if request.is_connect => Kind::Tunnel,
        _ => Kind::Final,
    }
}

/// Where the body ends (RFC 9112 section 6.3).
fn framing(
    status: u16,
    kind: Kind,
    request: &Request,
    fields: &Fields<'_>,
    is_11: bool,
) -> Result<Body, Reason> {
    if status == 101 && kind != Kind::Tunnel {
        // Nobody asked for another protocol.
        return Err(Reason::ResponseMalformed);
    }
    if request.is_head || kind != Kind::Final || matches!(status, 204 | 304) {
        return Ok(Body::NONE);
    }
    match (fields.coded, fields.length) {
        (true, _) if !is_11 => Err(Reason::ResponseMalformed),
        (true, _) if fields.chunked => Ok(Body::CHUNKED),
        (true, _) => Ok(Body::UntilClose),
        (false, Some(length)) => Ok(Body::Length(length)),
        (false, None) => Ok(Body::UntilClose),
    }
}

#[cfg(test)]
mod tests;
