//! B3, <https://github.com/openzipkin/b3-propagation>: in one field, or in several.

use super::id::{SpanId, TraceId};

/// What a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct B3 {
    /// Where in which trace it is. Nothing, if it only says whether to look at it.
    pub at: Option<At>,
    /// Whether to look at it, if anybody has decided on that.
    pub sampled: Option<bool>,
    /// It is to be looked at whatever else is decided.
    pub debug: bool,
}

/// Where in a trace a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The trace.
    pub trace: TraceId,
    /// The trace's id has 16 digits rather than 32.
    pub narrow: bool,
    /// Who made the request.
    pub span: SpanId,
    /// Whether that one says what its own parent is.
    pub has_parent: bool,
}

/// The fields that B3 is in when it is in several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Multi<'h> {
    /// `x-b3-traceid`
    pub trace: Option<&'h [u8]>,
    /// `x-b3-spanid`
    pub span: Option<&'h [u8]>,
    /// `x-b3-parentspanid`
    pub parent: Option<&'h [u8]>,
    /// `x-b3-sampled`
    pub sampled: Option<&'h [u8]>,
    /// `x-b3-flags`
    pub flags: Option<&'h [u8]>,
}

impl B3 {
    /// Of `{trace}-{span}-{state}-{parent}`, whose last two may be left out, or of a
    /// state alone. Nothing, if there is doubt about it.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.trim_ascii().split(|byte| *byte == b'-');
        let (first, span) = (parts.next()?, parts.next());
        let Some(span) = span else {
            return Some(Self::of(None, state(first)?));
        };
        let sampled = match parts.next() {
            Some(text) => state(text)?,
            None => State::Deferred,
        };
        let parent = parts.next();
        if parts.next().is_some() {
            return None;
        }
        Some(Self::of(Some(At::parse(first, span, parent)?), sampled))
    }

    fn of(at: Option<At>, state: State) -> Self {
        Self {
            at,
            sampled: match state {
                State::Deferred => None,
                State::Denied => Some(false),
                State::Accepted | State::Debug => Some(true),
            },
            debug: state == State::Debug,
        }
    }
}

impl Multi<'_> {
    /// Nothing, if there is none of the fields, or doubt about them.
    #[must_use]
    pub fn parse(&self) -> Option<B3> {
        let sampled = match self.sampled.map(<[u8]>::trim_ascii) {
            None => State::Deferred,
            // Older ones write words.
            Some(b"1" | b"true" | b"True" | b"TRUE") => State::Accepted,
            Some(b"0" | b"false" | b"False" | b"FALSE") => State::Denied,
            Some(_) => return None,
        };
        let state = match self.flags.map(<[u8]>::trim_ascii) {
            Some(b"1") => State::Debug,
            None | Some(b"0") => sampled,
            Some(_) => return None,
        };
        let at = match (self.trace, self.span) {
            (None, None) if self.parent.is_some() => return None,
            (None, None) if state == State::Deferred => return None,
            (None, None) => None,
            (Some(trace), Some(span)) => {
                let (trace, span) = (trace.trim_ascii(), span.trim_ascii());
                Some(At::parse(trace, span, self.parent.map(<[u8]>::trim_ascii))?)
            }
            _ => return None,
        };
        Some(B3::of(at, state))
    }
}

impl At {
    fn parse(trace: &[u8], span: &[u8], parent: Option<&[u8]>) -> Option<Self> {
        if let Some(parent) = parent {
            SpanId::parse(parent)?;
        }
        Some(Self {
            trace: TraceId::parse(trace)?,
            narrow: trace.len() == 16,
            span: SpanId::parse(span)?,
            has_parent: parent.is_some(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Deferred,
    Denied,
    Accepted,
    Debug,
}

fn state(text: &[u8]) -> Option<State> {
    match text {
        b"0" => Some(State::Denied),
        b"1" => Some(State::Accepted),
        b"d" => Some(State::Debug),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
