//! The fields of a request that carry a trace's context.

/// One of them, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `traceparent`
    TraceParent,
    /// `tracestate`
    TraceState,
    /// `b3`
    B3,
    /// `x-b3-traceid`
    B3TraceId,
    /// `x-b3-spanid`
    B3SpanId,
    /// `x-b3-parentspanid`
    B3ParentSpanId,
    /// `x-b3-sampled`
    B3Sampled,
    /// `x-b3-flags`
    B3Flags,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::TraceParent,
        Self::TraceState,
        Self::B3,
        Self::B3TraceId,
        Self::B3SpanId,
        Self::B3ParentSpanId,
        Self::B3Sampled,
        Self::B3Flags,
    ];

    /// The field of this name, in letters of either case.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        // Most names differ from all of these in their first letter or their length.
        if !matches!(name.first()?, b't' | b'T' | b'b' | b'B' | b'x' | b'X') {
            return None;
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        Some(match name.len() {
            2 if is("b3") => Self::B3,
            10 if is("tracestate") => Self::TraceState,
            10 if is("x-b3-flags") => Self::B3Flags,
            11 if is("traceparent") => Self::TraceParent,
            11 if is("x-b3-spanid") => Self::B3SpanId,
            12 if is("x-b3-traceid") => Self::B3TraceId,
            12 if is("x-b3-sampled") => Self::B3Sampled,
            17 if is("x-b3-parentspanid") => Self::B3ParentSpanId,
            _ => return None,
        })
    }

    /// Its name, as HTTP/2 has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TraceParent => "traceparent",
            Self::TraceState => "tracestate",
            Self::B3 => "b3",
            Self::B3TraceId => "x-b3-traceid",
            Self::B3SpanId => "x-b3-spanid",
            Self::B3ParentSpanId => "x-b3-parentspanid",
            Self::B3Sampled => "x-b3-sampled",
            Self::B3Flags => "x-b3-flags",
        }
    }
}

/// A short value of a field, without memory of its own elsewhere.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; Self::BYTES_MAX],
    length: usize,
}

impl Text {
    /// What `b3` has at most.
    pub const BYTES_MAX: usize = 32 + 1 + 16 + 1 + 1 + 1 + 16;

    /// What is written, cut at its longest.
    #[must_use]
    pub fn new(written: std::fmt::Arguments<'_>) -> Self {
        let mut text = Self {
            bytes: [0; Self::BYTES_MAX],
            length: 0,
        };
        let cut = std::fmt::Write::write_fmt(&mut text, written);
        debug_assert!(cut.is_ok(), "no context is longer than that");
        text
    }

    /// The value.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.length + part.len();
        let room = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?;
        room.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        String::from_utf8_lossy(self.bytes()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_resembles_a_name_is_none() {
        for name in [
            "",
            "t",
            "traceparen",
            "traceparents",
            "b4",
            "x-b3-",
            "x-request-id",
        ] {
            assert_eq!(Field::of(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn names_are_known_in_either_case() {
        for field in Field::ALL {
            let name = field.name();
            assert_eq!(Field::of(name.as_bytes()), Some(field));
            assert_eq!(Field::of(name.to_uppercase().as_bytes()), Some(field));
        }
    }
}
