//! W3C Trace Context, <https://www.w3.org/TR/trace-context/>.

use super::id::{SpanId, TraceId, digit};

/// The sampled flag.
const SAMPLED: u8 = 0b01;
/// The trace id is random, which level 2 has each one pass on.
const RANDOM: u8 = 0b10;

/// How long a `traceparent` of version 00 is, and at least that of any later one.
const LENGTH: usize = 55;
/// Members that a `tracestate` may have.
const MEMBERS_MAX: usize = 32;
/// Of a `tracestate`, as much has to be passed on by everybody; more is not told of.
const STATE_BYTES_MAX: usize = 512;

/// A `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// Who made the request.
    pub span: SpanId,
    /// Whether that one is recorded.
    pub sampled: bool,
    /// The trace id is random.
    pub random: bool,
}

impl TraceParent {
    /// Nothing, if there is doubt about it. Of a version that is yet to come, only
    /// what it has in common with version 00 is looked at (section 4.3 of the standard).
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let version = byte(&known[..2])?;
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let ends = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest, [] | [b'-', ..]),
        };
        if !dashes || !ends {
            return None;
        }
        let flags = byte(&known[53..])?;
        Some(Self {
            trace: TraceId::parse(&known[3..35])?,
            span: SpanId::parse(&known[36..52])?,
            sampled: flags & SAMPLED != 0,
            random: flags & RANDOM != 0,
        })
    }

    /// Its flags, without those that nobody knows the meaning of.
    #[must_use]
    pub fn flags(&self) -> u8 {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        flag(self.sampled, SAMPLED) | flag(self.random, RANDOM)
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags())
    }
}

fn byte(pair: &[u8]) -> Option<u8> {
    match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

/// What several `tracestate` fields come to in one, if it is one by the standard and
/// not longer than what everybody has to pass on.
#[must_use]
pub fn trace_state<'s>(values: impl Iterator<Item = &'s [u8]>) -> Option<String> {
    let mut state = String::new();
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in values.flat_map(|value| value.split(|byte| *byte == b',')) {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        let equals = member.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS_MAX {
            return None;
        }
        keys.push(key);
        if !state.is_empty() {
            state.push(',');
        }
        state.push_str(str::from_utf8(member).ok()?);
    }
    (1..=STATE_BYTES_MAX)
        .contains(&state.len())
        .then_some(state)
}

/// A name, or `tenant@system`.
fn is_key(key: &[u8]) -> bool {
    let fits = |part: &[u8], bytes_max: usize, first: fn(&u8) -> bool| {
        let inner = |byte: &u8| is_lower(byte) || byte.is_ascii_digit() || b"_-*/".contains(byte);
        part.len() <= bytes_max && part.first().is_some_and(first) && part.iter().all(inner)
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => fits(key, 256, is_lower),
        Some(at) => {
            let begins = |byte: &u8| is_lower(byte) || byte.is_ascii_digit();
            fits(&key[..at], 241, begins) && fits(&key[at + 1..], 14, is_lower)
        }
    }
}

fn is_lower(byte: &u8) -> bool {
    byte.is_ascii_lowercase()
}

/// Printable ASCII other than `,` and `=`. That it does not end with a space is so
/// since it was trimmed.
fn is_value(value: &[u8]) -> bool {
    let printable = |byte: &u8| matches!(byte, b' '..=b'~') && !b",=".contains(byte);
    (1..=256).contains(&value.len()) && value.iter().all(printable)
}

#[cfg(test)]
mod tests;
