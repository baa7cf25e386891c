//! The header fields that concern a connection rather than its message
//! (RFC 9110 section 7.6.1), and those that say where a body ends.

use std::num::NonZeroU32;

use httparse::Header;

use crate::http::host;

/// What a head's fields say of connection and framing.
#[derive(Debug, Default)]
pub(super) struct Fields<'h> {
    /// `Connection: close`.
    pub(super) close: bool,
    /// `Connection: keep-alive`.
    pub(super) keep_alive: bool,
    /// For how many seconds the connection is kept while nothing is sent over it, as
    /// `Keep-Alive` says (RFC 2068 section 19.7.1.1).
    pub(super) kept_seconds: Option<NonZeroU32>,
    /// `Connection: upgrade`.
    upgrade: bool,
    /// There is an `Upgrade`.
    has_upgrade: bool,
    /// It names HTTP/2 among others (RFC 7540 section 3.2, which RFC 9113 has taken
    /// back). It stays HTTP/1.1 then.
    names_h2c: bool,
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// There is a `Transfer-Encoding`.
    pub(super) coded: bool,
    /// Its last coding is `chunked`.
    pub(super) chunked: bool,
    /// It names others.
    pub(super) coded_otherwise: bool,
    /// The length, or `chunked`, is said more than once.
    pub(super) repeated: bool,
    /// There is a `Content_Length`, or the like: to applications that are told of fields
    /// in variables (RFC 3875 section 4.1.18), it is the same name.
    pub(super) resembled: bool,
    /// Whatever is said of it, there is no body.
    pub(super) bodiless: bool,
    /// `Host`.
    pub(super) host: Option<&'h [u8]>,
    /// There are several of them, or one that is none.
    pub(super) bad_host: bool,
    /// `TE: trailers`, perhaps among others.
    pub(super) takes_trailers: bool,
    /// Other names that `Connection` lists.
    listed: Vec<&'h [u8]>,
}

/// Fields that contradict themselves or each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction;

/// How a field is to be treated when its head is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Connection,
    KeepAlive,
    Upgrade,
    /// For the next hop alone, and of no interest there.
    Hop,
    Te,
    Length,
    Coding,
    /// Of a name that some take for that of a length or a coding.
    Resembling,
    Host,
    Http2Settings,
    /// For the other end.
    End,
}

impl Role {
    fn of(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let resembles = |known: &str| {
            let mut pairs = name.bytes().zip(known.bytes());
            pairs.all(|(byte, known)| {
                byte.eq_ignore_ascii_case(&known) || byte == b'_' && known == b'-'
            })
        };
        // Most names differ from all of these in length.
        match name.len() {
            2 if is("te") => Role::Te,
            4 if is("host") => Role::Host,
            7 if is("upgrade") => Role::Upgrade,
            10 if is("connection") => Role::Connection,
            10 if is("keep-alive") => Role::KeepAlive,
            14 if is("content-length") => Role::Length,
            14 if is("http2-settings") => Role::Http2Settings,
            16 if is("proxy-connection") => Role::Hop,
            17 if is("transfer-encoding") => Role::Coding,
            14 if resembles("content-length") => Role::Resembling,
            17 if resembles("transfer-encoding") => Role::Resembling,
            _ => Role::End,
        }
    }
}

impl<'h> Fields<'h> {
    /// Reads the fields of a head.
    ///
    /// # Errors
    /// If there are several lengths or transfer codings, or one that is none.
    pub(super) fn of(headers: &[Header<'h>]) -> Result<Self, Contradiction> {
        let mut fields = Fields::default();
        for header in headers {
            match Role::of(header.name) {
                Role::Connection => fields.connection(header.value),
                Role::KeepAlive => fields.kept_seconds = kept_seconds(header.value),
                Role::Upgrade => fields.upgrade_to(header.value),
                Role::Length => fields.length(header.value)?,
                Role::Coding => fields.coding(header.value)?,
                Role::Host => fields.host(header.value),
                Role::Te => fields.takes_trailers |= trailers(header.value).is_some(),
                Role::Resembling => fields.resembled = true,
                Role::Hop | Role::Http2Settings | Role::End => {}
            }
        }
        Ok(fields)
    }

    fn connection(&mut self, value: &'h [u8]) {
        for token in list(value) {
            let is = |known: &str| token.eq_ignore_ascii_case(known.as_bytes());
            match () {
                () if is("close") => self.close = true,
                () if is("keep-alive") => self.keep_alive = true,
                () if is("upgrade") => self.upgrade = true,
                () => self.listed.push(token),
            }
        }
    }

    fn upgrade_to(&mut self, value: &[u8]) {
        let is_h2c = |protocol: &[u8]| protocol.eq_ignore_ascii_case(b"h2c");
        self.names_h2c |= list(value).any(is_h2c);
        self.has_upgrade = true;
    }

    fn host(&mut self, value: &'h [u8]) {
        self.bad_host |= self.host.is_some() || !host::is_valid(value);
        self.host = Some(value);
    }

    /// Digits, perhaps more than once (RFC 9110 section 8.6).
    fn length(&mut self, value: &[u8]) -> Result<(), Contradiction> {
        for item in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let length = number(item).ok_or(Contradiction)?;
            self.repeated |= self.length.is_some();
            if self.length.is_some_and(|before| before != length) {
                return Err(Contradiction);
            }
            self.length = Some(length);
        }
        Ok(())
    }

    /// `chunked` at the end, perhaps more than once: nobody means chunks within chunks
    /// (RFC 9112 section 6.1). What merely resembles it is not to be guessed at.
    fn coding(&mut self, value: &[u8]) -> Result<(), Contradiction> {
        if self.coded_otherwise || list(value).next().is_none() {
            return Err(Contradiction);
        }
        self.coded = true;
        for coding in list(value) {
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.repeated |= self.chunked;
                self.chunked = true;
                continue;
            }
            let lower = coding.to_ascii_lowercase();
            if self.chunked || lower.windows(7).any(|part| part == b"chunked") {
                return Err(Contradiction);
            }
            self.coded_otherwise = true;
        }
        let is_mixed = self.coded_otherwise && self.repeated;
        if is_mixed { Err(Contradiction) } else { Ok(()) }
    }

    /// Whether another protocol is named that may be spoken instead.
    pub(super) fn upgrades(&self) -> bool {
        self.upgrade && self.has_upgrade && !self.names_h2c
    }

    /// Writes the fields that are meant for the other end, as they came: but for what
    /// says where the body ends, which is said once and in one way, so that every reader
    /// understands the same.
    pub(super) fn write(&self, headers: &[Header<'h>], upgrade: bool, out: &mut Vec<u8>) {
        let mut said_end = false;
        for header in headers {
            let mut value = header.value;
            let keep = match Role::of(header.name) {
                Role::Connection | Role::KeepAlive | Role::Hop => false,
                Role::Upgrade => upgrade,
                Role::Length => {
                    value = first_number(value);
                    // A length beside a coding is void (RFC 9112 section 6.3).
                    let is_void = self.coded || self.bodiless && self.length != Some(0);
                    !is_void && !std::mem::replace(&mut said_end, true)
                }
                Role::Coding if self.coded_otherwise => !self.bodiless,
                Role::Coding => {
                    value = b"chunked";
                    !self.bodiless && !std::mem::replace(&mut said_end, true)
                }
                Role::Host => {
                    value = self.host.unwrap_or(value);
                    true
                }
                // Trailers can be had: they are passed on. Other codings cannot.
                Role::Te => {
                    let trailers = trailers(value);
                    value = trailers.unwrap_or_default();
                    trailers.is_some()
                }
                Role::Http2Settings => !self.names_h2c,
                Role::Resembling | Role::End => !self.lists(header.name),
            };
            if keep {
                line(header.name, value, out);
            }
        }
    }

    fn lists(&self, name: &str) -> bool {
        let is = |listed: &&[u8]| listed.eq_ignore_ascii_case(name.as_bytes());
        self.listed.iter().any(is)
    }
}

pub(super) fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// What digits say, if it fits where there is a sign too: so many bytes nobody has, and some
/// read them as less than none.
fn number(digits: &[u8]) -> Option<u64> {
    let are_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(digits).ok().filter(|_| are_digits)?;
    text.parse::<i64>().ok()?.try_into().ok()
}

/// The first number of a list, without zeros before it: some take what begins with one for
/// octal.
fn first_number(value: &[u8]) -> &[u8] {
    let first = value.split(|byte| *byte == b',').next().unwrap_or(value);
    let first = first.trim_ascii();
    let zeros = first.iter().take_while(|byte| **byte == b'0').count();
    &first[zeros.min(first.len().saturating_sub(1))..]
}

fn kept_seconds(value: &[u8]) -> Option<NonZeroU32> {
    let timeout = list(value).find_map(|parameter| parameter.strip_prefix(b"timeout="));
    str::from_utf8(timeout?).ok()?.parse().ok()
}

/// What `TE` says of trailers.
fn trailers(value: &[u8]) -> Option<&[u8]> {
    list(value).find(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let items = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    items.filter(|item| !item.is_empty())
}
