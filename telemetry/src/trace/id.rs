//! Traces and spans by their numbers, which are never zero.

use std::{
    cell::RefCell,
    fmt,
    hash::{BuildHasher as _, RandomState},
};

/// A trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// A span of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

thread_local! {
    /// Two, since one alone has fewer states than there are trace ids. The operating
    /// system's randomness is in their seeds.
    static RANDOM: RefCell<[fastrand::Rng; 2]> = RefCell::new([seeded(), seeded()]);
}

fn seeded() -> fastrand::Rng {
    fastrand::Rng::with_seed(RandomState::new().hash_one(()))
}

impl TraceId {
    /// Nothing, if it is all zeros, which is no trace's.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// One that no other trace has.
    #[must_use]
    pub fn random() -> Self {
        let (high, low) = RANDOM.with_borrow_mut(|[high, low]| (high.u64(..), low.u64(1..)));
        let both = u128::from(high) << 64 | u128::from(low);
        Self(both.to_be_bytes())
    }

    /// Of 32 digits, or of 16 where its first half is zero: lower-case hexadecimal.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        match text.len() {
            16 => bytes[8..].copy_from_slice(&parse::<8>(text)?),
            _ => bytes = parse::<16>(text)?,
        }
        Self::new(bytes)
    }

    /// Most significant first.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// What is random of it in any case, as a number: its second half.
    pub(super) fn low(self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.0[8..]);
        u64::from_be_bytes(low)
    }
}

impl SpanId {
    /// Nothing, if it is all zeros, which is no span's.
    #[must_use]
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// One that no other span has.
    #[must_use]
    pub fn random() -> Self {
        Self(
            RANDOM
                .with_borrow_mut(|[_, low]| low.u64(1..))
                .to_be_bytes(),
        )
    }

    /// Of 16 digits: lower-case hexadecimal.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::new(parse(text)?)
    }

    /// Most significant first.
    #[must_use]
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

fn parse<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The value of a hexadecimal digit, of which both standards allow the lower-case ones.
pub(super) fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn write(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_id() {
        for text in [
            "",
            "0",
            "0000000000000000",
            "00000000000000000000000000000000",
            "463AC35C9F6413AD",
            "463ac35c9f6413ag",
            "463ac35c9f6413a",
            "463ac35c9f6413ad0",
            "463ac35c9f6413ad463ac35c9f6413ad0",
            "463ac35c9f6413ad463ac35c9f6413a\u{e9}",
        ] {
            assert_eq!(TraceId::parse(text.as_bytes()), None, "{text}");
            assert_eq!(SpanId::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_trace_may_have_half_as_many_digits() {
        let narrow = TraceId::parse(b"463ac35c9f6413ad").expect("it is an id");
        assert_eq!(narrow.to_string(), "0000000000000000463ac35c9f6413ad");
        assert_eq!(narrow.low(), 0x463a_c35c_9f64_13ad);
    }

    #[test]
    fn random_ones_differ_in_both_halves() {
        let (one, other) = (TraceId::random().bytes(), TraceId::random().bytes());
        assert_ne!(one[..8], other[..8]);
        assert_ne!(one[8..], other[8..]);
        assert_ne!(SpanId::random(), SpanId::random());
    }

    #[test]
    fn threads_do_not_draw_the_same_ones() {
        let draw = || std::thread::spawn(TraceId::random);
        let drawn = [draw(), draw()].map(|thread| thread.join().expect("it does not panic"));
        assert_ne!(drawn[0], drawn[1]);
    }
}
