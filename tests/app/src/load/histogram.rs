//! A histogram of fixed size for latencies: exact below 64 µs, within 1/32 above.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Each power of two is cut into this many buckets.
const BUCKETS_EACH: usize = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 5;
/// Some 19 hours; whatever takes longer is counted as that.
const MICROSECONDS_MAX: u64 = (1 << 36) - 1;
const BUCKETS: usize = bucket(MICROSECONDS_MAX) + 1;

/// Counts in buckets that grow with the value.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

/// Latencies in milliseconds; none if there was no successful request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of the requests took at most this long.
    pub p50: f64,
    /// 90 of 100 did.
    pub p90: f64,
    /// 99 of 100 did.
    pub p99: f64,
    /// The slowest took exactly this long.
    pub max: f64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS].into(),
            total: 0,
            max: 0,
        }
    }

    pub(super) fn add(&mut self, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(microseconds.min(MICROSECONDS_MAX))] += 1;
        self.total += 1;
        self.max = self.max.max(microseconds);
    }

    pub(super) fn percentiles(&self) -> Option<Percentiles> {
        (self.total > 0).then(|| Percentiles {
            p50: milliseconds(self.at_percent(50)),
            p90: milliseconds(self.at_percent(90)),
            p99: milliseconds(self.at_percent(99)),
            max: milliseconds(self.max),
        })
    }

    /// The upper end, in microseconds, of the bucket in which `percent` of the values are reached.
    fn at_percent(&self, percent: u64) -> u64 {
        let rank = (self.total * percent).div_ceil(100);
        let mut reached = 0;
        let found = self.counts.iter().position(|count| {
            reached += count;
            reached >= rank
        });
        found.map_or(self.max, |found| upper_end(found).min(self.max))
    }
}

/// One division, so that 2687 µs prints as 2.687 and not as its nearest neighbour.
#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 microseconds are 285 years"
)]
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

/// Values below two rows of buckets are their own index; above, the leading bits are.
const fn bucket(microseconds: u64) -> usize {
    let magnitude =
        (u64::BITS - (microseconds | 1).leading_zeros()).saturating_sub(BUCKET_BITS + 1);
    magnitude as usize * BUCKETS_EACH + (microseconds >> magnitude) as usize
}

/// The greatest value that falls into the bucket.
const fn upper_end(index: usize) -> u64 {
    let magnitude = (index / BUCKETS_EACH).saturating_sub(1);
    let leading = (index - magnitude * BUCKETS_EACH) as u64;
    ((leading + 1) << magnitude) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for index in 0..BUCKETS {
            let end = upper_end(index);
            assert_eq!(bucket(end), index, "the end of bucket {index} is in it");
            assert_eq!(bucket(end + 1), index + 1, "bucket {index} ends at {end}");
        }
    }

    #[test]
    fn no_bucket_is_wider_than_a_thirty_second_of_its_values() {
        for index in 2 * BUCKETS_EACH..BUCKETS {
            let start = upper_end(index - 1) + 1;
            let width = upper_end(index) - start + 1;
            assert!(width * 32 <= start, "bucket {index}: {start} + {width}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_percentiles() {
        assert_eq!(Histogram::new().percentiles(), None);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::new();
        for milliseconds in 1..=100 {
            histogram.add(Duration::from_millis(milliseconds));
        }
        let percentiles = histogram.percentiles().expect("there are values");
        for (got, exact) in [
            (percentiles.p50, 50.0),
            (percentiles.p90, 90.0),
            (percentiles.p99, 99.0),
        ] {
            assert!(
                (exact..=exact * 33.0 / 32.0).contains(&got),
                "{got} for {exact}"
            );
        }
        assert_eq!(percentiles.max, 100.0);
    }

    #[test]
    fn one_slow_request_shows_in_max_alone() {
        let mut histogram = Histogram::new();
        for _ in 0..999 {
            histogram.add(Duration::from_micros(40));
        }
        histogram.add(Duration::from_secs(100_000));
        let percentiles = histogram.percentiles().expect("there are values");
        assert_eq!((percentiles.p99, percentiles.max), (0.04, 100_000_000.0));
    }
}
