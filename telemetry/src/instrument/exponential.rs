//! Buckets that grow by a factor, fine enough for any percentile.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::snapshot::Exponential;

/// Eight buckets for each doubling: a value is known to 9 %.
const SCALE: i32 = 3;
const PER_OCTAVE: usize = 1 << SCALE;
/// 2^-20 is a microsecond in seconds, and one in bytes is 2^0.
const OCTAVE_MIN: i32 = -20;
/// 2^36 bytes are 64 GiB.
const OCTAVES: usize = 56;
/// `2^(i/8)`: where the buckets of an octave end, as a share of its beginning.
const ENDS: [f64; PER_OCTAVE] = [
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_429,
    1.834_008_086_409_342_4,
    2.0,
];

/// Counts of one series. What is outside of them is counted in the first or last.
#[derive(Debug)]
pub(super) struct Octaves {
    zeros: AtomicU64,
    counts: Box<[AtomicU64]>,
}

impl Default for Octaves {
    fn default() -> Self {
        let count = || AtomicU64::new(0);
        Self {
            zeros: count(),
            counts: std::iter::repeat_with(count)
                .take(OCTAVES * PER_OCTAVE)
                .collect(),
        }
    }
}

impl Octaves {
    pub(super) fn record(&self, value: f64) {
        if value > 0.0 {
            self.counts[index(value)].fetch_add(1, Release);
        } else {
            self.zeros.fetch_add(1, Release);
        }
    }

    /// What was counted so far, zeros first.
    pub(super) fn counts(&self) -> Vec<u64> {
        self.all().map(|count| count.load(Acquire)).collect()
    }

    /// Takes back what was counted so far.
    pub(super) fn subtract(&self, counts: &[u64]) {
        for (count, was) in self.all().zip(counts) {
            count.fetch_sub(*was, Relaxed);
        }
    }

    /// Counts with `other` what was counted so far.
    pub(super) fn move_to(&self, other: &Self) {
        for (from, into) in self.all().zip(other.all()) {
            into.fetch_add(from.swap(0, Relaxed), Relaxed);
        }
    }

    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        std::iter::once(&self.zeros).chain(&self.counts)
    }

    /// Without the empty buckets on both sides.
    pub(super) fn read(&self) -> Exponential {
        let counts: Vec<u64> = self
            .counts
            .iter()
            .map(|count| count.load(Relaxed))
            .collect();
        let used = |count: &u64| *count > 0;
        let first = counts.iter().position(used).unwrap_or(0);
        let end = counts.iter().rposition(used).map_or(first, |last| last + 1);
        let per_octave = i32::try_from(PER_OCTAVE).expect("it is 8");
        let skipped = i32::try_from(first).expect("there are a few hundred");
        Exponential {
            scale: SCALE,
            zeros: self.zeros.load(Relaxed),
            offset: OCTAVE_MIN * per_octave + skipped,
            counts: counts[first..end].to_vec(),
        }
    }
}

/// The bucket of a positive value. Its bounds are `(2^(i/8), 2^((i+1)/8)]`, so that a
/// power of two is the last value of a bucket.
fn index(value: f64) -> usize {
    // IEEE 754: a value is 2^exponent times something in [1, 2).
    let bits = value.to_bits();
    let biased = i32::try_from(bits >> 52).expect("11 bits of a positive number");
    let octave = biased - 1023;
    let share = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    let within = ENDS.partition_point(|end| *end < share);
    let Ok(octave) = usize::try_from(octave - OCTAVE_MIN) else {
        return 0;
    };
    let index = octave * PER_OCTAVE + within;
    let index = if share > 1.0 {
        index
    } else {
        index.saturating_sub(1)
    };
    index.min(OCTAVES * PER_OCTAVE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(value: f64) -> (f64, f64) {
        let octaves = Octaves::default();
        octaves.record(value);
        let read = octaves.read();
        assert_eq!(read.counts, [1]);
        let bound = |index: i32| 2_f64.powf(f64::from(index) / 8.0);
        (bound(read.offset), bound(read.offset + 1))
    }

    #[test]
    fn a_value_is_within_the_bounds_of_its_bucket() {
        for value in [0.000_001_5, 0.000_9, 0.003, 0.5, 0.75, 1.0, 1.1, 7.0, 1e6] {
            let (low, high) = bounds(value);
            assert!(
                low < value && value <= high * (1.0 + 1e-12),
                "{low} < {value} <= {high}"
            );
        }
    }

    #[test]
    fn counts_what_is_too_small_or_too_large_at_the_ends() {
        let octaves = Octaves::default();
        octaves.record(1e-12);
        octaves.record(1e300);
        octaves.record(0.0);
        let read = octaves.read();
        assert_eq!(read.zeros, 1);
        assert_eq!(read.counts.len(), OCTAVES * PER_OCTAVE);
        assert_eq!(read.offset, OCTAVE_MIN * 8);
    }
}
