//! Native histograms, <https://prometheus.io/docs/specs/native_histograms/>.

use crate::{
    proto::prometheus::{
        BucketSpan, Histogram,
        histogram::{Count, ZeroCount},
    },
    snapshot::{Distribution, Exponential},
};

/// Prometheus knows the schemas -4 to 8, which are OTLP's scales.
const SCALE_MIN: i32 = -4;
const SCALE_MAX: i32 = 8;

/// The exponential buckets of a distribution, if it has them and Prometheus can.
pub(super) fn histogram(distribution: &Distribution, timestamp: i64) -> Option<Histogram> {
    let buckets = distribution.exponential.as_ref()?;
    if buckets.scale < SCALE_MIN {
        return None;
    }
    let Exponential {
        scale,
        zeros,
        offset,
        counts,
    } = coarser(buckets, SCALE_MAX);
    let total = zeros + counts.iter().sum::<u64>();
    let length = u32::try_from(counts.len()).ok()?;
    let span = BucketSpan {
        // Prometheus names a bucket by its upper bound, OTLP by its lower one.
        offset: offset + 1,
        length,
    };
    Some(Histogram {
        count: Some(Count::CountInt(total)),
        sum: distribution.sum,
        schema: scale,
        zero_count: Some(ZeroCount::ZeroCountInt(zeros)),
        positive_spans: if length == 0 { Vec::new() } else { vec![span] },
        positive_deltas: deltas(&counts),
        timestamp,
        ..Histogram::default()
    })
}

fn deltas(counts: &[u64]) -> Vec<i64> {
    let counts = counts
        .iter()
        .map(|count| i64::try_from(*count).unwrap_or(i64::MAX));
    let mut before = 0;
    counts
        .map(|count| count - std::mem::replace(&mut before, count))
        .collect()
}

/// The same in buckets of at most this scale: each step puts two into one.
fn coarser(buckets: &Exponential, scale_max: i32) -> Exponential {
    let mut coarse = buckets.clone();
    while coarse.scale > scale_max {
        let mut counts: Vec<u64> = Vec::new();
        let first = coarse.offset.div_euclid(2);
        for (index, count) in (coarse.offset..).zip(&coarse.counts) {
            let at = usize::try_from(index.div_euclid(2) - first).unwrap_or_default();
            counts.resize(counts.len().max(at + 1), 0);
            counts[at] += count;
        }
        coarse.scale -= 1;
        coarse.offset = first;
        coarse.counts = counts;
    }
    coarse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fine_buckets_are_one_coarse_bucket() {
        let fine = Exponential {
            scale: 9,
            zeros: 1,
            offset: -3,
            counts: vec![1, 2, 4, 8],
        };
        // Indices -3 | -2 -1 | 0 become -2 | -1 | 0.
        let coarse = coarser(&fine, 8);
        assert_eq!((coarse.scale, coarse.offset), (8, -2));
        assert_eq!(coarse.counts, [1, 6, 8]);
    }

    #[test]
    fn counts_are_differences_and_buckets_begin_one_later() {
        let distribution = Distribution {
            exponential: Some(Exponential {
                scale: 3,
                zeros: 2,
                offset: 4,
                counts: vec![5, 3, 3],
            }),
            sum: 1.5,
            ..Distribution::default()
        };
        let native = histogram(&distribution, 7).expect("it has buckets");
        assert_eq!(native.count, Some(Count::CountInt(13)));
        assert_eq!(native.positive_deltas, [5, -2, 0]);
        assert_eq!(
            (
                native.positive_spans[0].offset,
                native.positive_spans[0].length
            ),
            (5, 3)
        );
    }
}
