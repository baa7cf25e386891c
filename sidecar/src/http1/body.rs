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
    Extension { size: u64, bytes: u16, named: bool },
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

/// As many hexadecimal digits as 64 bits have.
const SIZE_DIGITS_MAX: u8 = 16;
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
            (Chunks::Extension { size, .. }, b'\r') => Ok(Chunks::SizeEnd { size }),
            (Chunks::Extension { size, bytes, named }, _) => {
                let named = named || byte == b';';
                let allowed = if named { is_text(byte) } else { is_blank(byte) };
                if !allowed || bytes >= EXTENSION_BYTES_MAX {
                    return Err(BadChunk);
                }
                let bytes = bytes + 1;
                Ok(Chunks::Extension { size, bytes, named })
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
                    named: false,
                };
                return begun.after(byte);
            }
        };
        if digits == SIZE_DIGITS_MAX {
            return Err(BadChunk);
        }
        Ok(Chunks::Size {
            size: size << 4 | u64::from(digit),
            digits: digits + 1,
        })
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

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
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
mod tests {
    use super::*;

    /// All of it at once, and byte by byte: the same must come out.
    fn read(bytes: &[u8]) -> Result<(usize, bool), BadChunk> {
        let mut whole = Body::CHUNKED;
        let taken = whole.take(bytes);
        let mut slow = Body::CHUNKED;
        let mut count = 0;
        let mut one_by_one = Ok(());
        for byte in bytes {
            match slow.take(&[*byte]) {
                Ok(taken) => count += taken,
                Err(bad) => {
                    one_by_one = Err(bad);
                    break;
                }
            }
        }
        assert_eq!(taken.is_err(), one_by_one.is_err(), "{bytes:?}");
        let taken = taken?;
        assert_eq!((taken, &whole), (count, &slow), "{bytes:?}");
        Ok((taken, whole.is_over()))
    }

    #[test]
    fn refuses_chunks_that_leave_doubt() {
        let long_extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(2000));
        let long_trailer = format!("0\r\na: {}\r\n\r\n", "x".repeat(20_000));
        for bytes in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1\n",
            "1 2\r\n",
            "1\r\r\n",
            "11111111111111111\r\n",
            "00000000000000001\r\n",
            "1;a\nb\r\n",
            "1\0\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\r\r",
            "0\r\n\n",
            "0\r\nno-colon\r\n\r\n",
            "0\r\n: empty\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\na: b\n\r\n",
            "0\r\na: b\0\r\n\r\n",
            "0\r\na b: c\r\n\r\n",
            &long_extension,
            &long_trailer,
        ] {
            assert_eq!(read(bytes.as_bytes()), Err(BadChunk), "{bytes:?}");
        }
    }

    #[test]
    fn finds_the_end() {
        for bytes in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n1\r\n\n\r\n0\r\n\r\n",
            "1 \r\na\r\n0\r\n\r\n",
            "1;name=\"value\"\r\na\r\n0;last\r\n\r\n",
            "0\r\nGrpc-Status: 0\r\nempty:\r\n\r\n",
        ] {
            assert_eq!(read(bytes.as_bytes()), Ok((bytes.len(), true)), "{bytes:?}");
            let longer = format!("{bytes}GET");
            assert_eq!(read(longer.as_bytes()), Ok((bytes.len(), true)));
            let shorter = &bytes.as_bytes()[..bytes.len() - 1];
            assert_eq!(read(shorter), Ok((bytes.len() - 1, false)));
        }
    }

    #[test]
    fn a_length_takes_no_more_than_its_own() {
        let mut body = Body::Length(5);
        assert_eq!(body.take(b"abc"), Ok(3));
        assert!(!body.is_over());
        assert_eq!(body.take(b"defg"), Ok(2));
        assert!(body.is_over());
        assert_eq!(body.take(b"g"), Ok(0));
    }

    #[test]
    fn without_a_length_all_is_the_bodys() {
        let mut body = Body::UntilClose;
        assert_eq!(body.take(b"abc"), Ok(3));
        assert!(!body.is_over());
    }
}
