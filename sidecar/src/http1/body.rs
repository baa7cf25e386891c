//! Where a message's body ends (RFC 9112 sections 6 and 7).
//!
//! Bodies are passed on as they came, chunk by chunk, so what is looked for here is
//! their end alone. A sender that leaves doubt about it is refused: two readers that
//! see different ends are how requests are smuggled.

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks, and a trailer section.
    Chunked(Chunks),
    /// All until the connection ends.
    UntilClose,
}

/// Chunks that break the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk is malformed")]
pub(crate) struct BadChunk;

/// Where in the chunks the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// In the size, of which so much is known.
    Size { size: u64, digits: u8 },
    /// Behind the size, in what may be an extension.
    Extension { size: u64, bytes: u16, at: At },
    /// At the line feed that ends the size's line.
    SizeEnd { size: u64 },
    /// In the data, of which so many bytes are to come.
    Data { left: u64 },
    /// Behind the data.
    DataCr,
    /// At the line feed behind the data.
    DataLf,
    /// At the start of a line of the trailer section.
    Trailer { bytes: u16 },
    /// In a trailer's name, or behind its colon.
    Field { bytes: u16, named: bool },
    /// At the line feed that ends a trailer.
    FieldEnd { bytes: u16 },
    /// At the last line feed.
    End,
    /// Behind it.
    Over,
}

/// Where in an extension the next byte is (RFC 9112 section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// In the blanks before its semicolon.
    Blanks,
    /// Behind that.
    Text,
    /// Within quotes. Those that are open at the line's end, some read on.
    Quotes,
    /// Within them, at what does not end them.
    Escaped,
}

/// As many hexadecimal digits as 64 bits have.
const SIZE_DIGITS_MAX: u8 = 16;
/// Some have a sign where they hold it, and read more than this as less than nothing.
const SIZE_MAX: u64 = u64::MAX >> 1;
/// Extensions are hardly used, and have carried attacks.
const EXTENSION_BYTES_MAX: u16 = 1024;
const TRAILER_BYTES_MAX: u16 = 16 * 1024;

impl Body {
    /// No body at all.
    pub(crate) const NONE: Body = Body::Length(0);
    /// Chunks from their beginning.
    pub(crate) const CHUNKED: Body = Body::Chunked(Chunks::Size { size: 0, digits: 0 });

    /// Whether nothing more is to come.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Body::Length(0) | Body::Chunked(Chunks::Over))
    }

    /// Whether the next byte is data, rather than of what frames it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_in_data(&self) -> bool {
        !matches!(self, Body::Chunked(chunks) if !matches!(chunks, Chunks::Data { .. }))
    }

    /// How many of these bytes, from the first one on, are the body's.
    ///
    /// # Errors
    /// If chunks break the rules. None of the bytes is to be passed on then.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        match self {
            Body::Length(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                Ok(taken)
            }
            Body::Chunked(chunks) => chunks.take(bytes),
            Body::UntilClose => Ok(bytes.len()),
        }
    }
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < bytes.len() && *self != Chunks::Over {
            if let Chunks::Data { left } = self {
                let here = (bytes.len() - at) as u64;
                let data = here.min(*left);
                *left -= data;
                // It is at most what is here, which is a usize.
                at += usize::try_from(data).unwrap_or(usize::MAX);
                if *left == 0 {
                    *self = Chunks::DataCr;
                }
                continue;
            }
            *self = self.after(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// What comes after a byte that is not data.
    fn after(self, byte: u8) -> Result<Self, BadChunk> {
        match (self, byte) {
            (Chunks::Size { size, digits }, _) => Self::in_size(size, digits, byte),
            (Chunks::Extension { size, at, .. }, b'\r') if at.may_end() => {
                Ok(Chunks::SizeEnd { size })
            }
            (Chunks::Extension { size, bytes, at }, _) => {
                let at = at.after(byte).ok_or(BadChunk)?;
                if bytes >= EXTENSION_BYTES_MAX {
                    return Err(BadChunk);
                }
                let bytes = bytes + 1;
                Ok(Chunks::Extension { size, bytes, at })
            }
            (Chunks::SizeEnd { size: 0 }, b'\n') => Ok(Chunks::Trailer { bytes: 0 }),
            (Chunks::SizeEnd { size }, b'\n') => Ok(Chunks::Data { left: size }),
            (Chunks::DataCr, b'\r') => Ok(Chunks::DataLf),
            (Chunks::DataLf, b'\n') => Ok(Chunks::Size { size: 0, digits: 0 }),
            (Chunks::Trailer { .. }, b'\r') => Ok(Chunks::End),
            (Chunks::Trailer { bytes }, _) if is_token(byte) => Self::in_field(bytes, false, byte),
            (Chunks::Field { bytes, named: true }, b'\r') => Ok(Chunks::FieldEnd { bytes }),
            (Chunks::Field { bytes, named }, _) => Self::in_field(bytes, named, byte),
            (Chunks::FieldEnd { bytes }, b'\n') => Ok(Chunks::Trailer { bytes }),
            (Chunks::End, b'\n') => Ok(Chunks::Over),
            _ => Err(BadChunk),
        }
    }

    fn in_size(size: u64, digits: u8, byte: u8) -> Result<Self, BadChunk> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if digits == 0 => return Err(BadChunk),
            b'\r' => return Ok(Chunks::SizeEnd { size }),
            _ => {
                let begun = Chunks::Extension {
                    size,
                    bytes: 0,
                    at: At::Blanks,
                };
                return begun.after(byte);
            }
        };
        let size = size << 4 | u64::from(digit);
        if digits == SIZE_DIGITS_MAX || size > SIZE_MAX {
            return Err(BadChunk);
        }
        let digits = digits + 1;
        Ok(Chunks::Size { size, digits })
    }

    fn in_field(bytes: u16, named: bool, byte: u8) -> Result<Self, BadChunk> {
        let allowed = if named {
            is_text(byte)
        } else {
            is_token(byte) || byte == b':'
        };
        if !allowed || bytes >= TRAILER_BYTES_MAX {
            return Err(BadChunk);
        }
        Ok(Chunks::Field {
            bytes: bytes + 1,
            named: named || byte == b':',
        })
    }
}

impl At {
    fn may_end(self) -> bool {
        matches!(self, At::Blanks | At::Text)
    }

    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (At::Blanks, b' ' | b'\t') => Some(At::Blanks),
            (At::Blanks, b';') => Some(At::Text),
            (At::Blanks, _) => None,
            _ if !is_text(byte) => None,
            (At::Text, b'"') | (At::Escaped, _) => Some(At::Quotes),
            (At::Quotes, b'\\') => Some(At::Escaped),
            (At::Quotes, b'"') => Some(At::Text),
            _ => Some(self),
        }
    }
}

/// No control characters: above all no lone line feed, which some take for an end.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
