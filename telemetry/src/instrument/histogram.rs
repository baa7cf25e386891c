//! How values are distributed.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
            fence,
        },
    },
    time::Duration,
};

use super::{
    Instrument,
    exemplars::{Exemplars, TraceContext},
    exponential::Octaves,
};
use crate::snapshot::{Data, Distribution, Point};

/// What a histogram's values are, and how they are recorded: as whole numbers, which
/// can be added up without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, recorded in nanoseconds.
    Seconds,
    /// Bytes, or anything else that is counted.
    Whole,
}

/// What the series of a histogram have in common.
#[derive(Debug)]
pub struct Buckets {
    unit: Unit,
    bounds: Arc<[f64]>,
    /// The same, as values are recorded.
    recorded: Box<[u64]>,
    exponential: Arc<AtomicBool>,
}

/// A series of values.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Series>);

#[derive(Debug)]
struct Series {
    shape: Arc<Buckets>,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    octaves: OnceLock<Octaves>,
    exemplars: OnceLock<Exemplars>,
}

impl Unit {
    /// A value in the metric's unit, of one as it is recorded.
    #[allow(
        clippy::cast_precision_loss,
        reason = "15 digits are more than anybody looks at"
    )]
    pub(super) fn value(self, recorded: u64) -> f64 {
        match self {
            Unit::Seconds => recorded as f64 / 1e9,
            Unit::Whole => recorded as f64,
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float that is cast is cut to what the integer can hold"
    )]
    fn recorded(self, value: f64) -> u64 {
        match self {
            Unit::Seconds => (value * 1e9).round() as u64,
            Unit::Whole => value as u64,
        }
    }
}

impl Buckets {
    /// Buckets with these inclusive upper bounds, which rise, in the metric's unit.
    /// While `exponential` is set, finer ones are kept beside them.
    #[must_use]
    pub fn new(unit: Unit, bounds: &[f64], exponential: Arc<AtomicBool>) -> Self {
        Self {
            unit,
            bounds: bounds.into(),
            recorded: bounds.iter().map(|bound| unit.recorded(*bound)).collect(),
            exponential,
        }
    }
}

impl Histogram {
    /// One more value, as it is recorded: nanoseconds where the unit is seconds.
    pub fn record(&self, value: u64) {
        let series = &*self.0;
        let bucket = series
            .shape
            .recorded
            .partition_point(|bound| *bound < value);
        series.counts[bucket].fetch_add(1, Relaxed);
        series.sum.fetch_add(value, Release);
        if series.shape.exponential.load(Relaxed) {
            let octaves = series.octaves.get_or_init(Octaves::default);
            octaves.record(series.shape.unit.value(value));
        }
    }

    /// The same; and if there is a sampled trace that it is part of, keeps it as an
    /// example of its bucket.
    pub fn record_in(&self, value: u64, trace: Option<TraceContext>) {
        self.record(value);
        if let Some(trace) = trace {
            let series = &*self.0;
            let bucket = series
                .shape
                .recorded
                .partition_point(|bound| *bound < value);
            let exemplars = || Exemplars::new(series.counts.len());
            let exemplars = series.exemplars.get_or_init(exemplars);
            exemplars.keep(bucket, series.shape.unit.value(value), trace);
        }
    }

    /// Something took so long.
    pub fn took(&self, took: Duration) {
        self.record(nanoseconds(took));
    }
}

/// A duration as it is recorded; ends at 584 years.
pub(crate) fn nanoseconds(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

impl Instrument for Histogram {
    type Shape = Arc<Buckets>;
    type Value = Distribution;

    fn new(shape: &Arc<Buckets>) -> Self {
        let counts = || AtomicU64::new(0);
        Self(Arc::new(Series {
            shape: Arc::clone(shape),
            counts: std::iter::repeat_with(counts)
                .take(shape.recorded.len() + 1)
                .collect(),
            sum: AtomicU64::new(0),
            octaves: OnceLock::new(),
            exemplars: OnceLock::new(),
        }))
    }

    fn read(&self) -> Distribution {
        let series = &*self.0;
        let exemplars = series.exemplars.get().map(Exemplars::read);
        Distribution {
            bounds: Arc::clone(&series.shape.bounds),
            counts: series
                .counts
                .iter()
                .map(|count| count.load(Relaxed))
                .collect(),
            sum: series.shape.unit.value(series.sum.load(Relaxed)),
            exponential: series.octaves.get().map(Octaves::read),
            exemplars: exemplars.unwrap_or_default(),
        }
    }

    fn mark(&self) -> u64 {
        self.0.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn empty(&self, mark: u64) -> bool {
        let series = &*self.0;
        // Against the order in which they are recorded: whatever is in the others is in
        // the counts that are read.
        let octaves = series.octaves.get().map(|it| (it, it.counts()));
        let sum = series.sum.load(Acquire);
        let count = |count: &AtomicU64| count.load(Relaxed);
        let counts: Vec<u64> = series.counts.iter().map(count).collect();
        if counts.iter().sum::<u64>() != mark {
            return false;
        }
        for (count, was) in series.counts.iter().zip(counts) {
            count.fetch_sub(was, Relaxed);
        }
        series.sum.fetch_sub(sum, Relaxed);
        if let Some((octaves, counts)) = octaves {
            octaves.subtract(&counts);
        }
        if let Some(exemplars) = series.exemplars.get() {
            exemplars.clear();
        }
        true
    }

    fn move_to(&self, other: &Self) {
        let (from, into) = (&*self.0, &*other.0);
        let move_count = |from: &AtomicU64, into: &AtomicU64| {
            into.fetch_add(from.swap(0, Relaxed), Relaxed);
        };
        for (from, into) in from.counts.iter().zip(&into.counts) {
            move_count(from, into);
        }
        move_count(&from.sum, &into.sum);
        if let Some(octaves) = from.octaves.get() {
            octaves.move_to(into.octaves.get_or_init(Octaves::default));
        }
        if let Some(exemplars) = from.exemplars.get() {
            exemplars.clear();
        }
    }

    fn holders(&self) -> usize {
        let holders = Arc::strong_count(&self.0);
        fence(Acquire);
        holders
    }

    fn data(points: Vec<Point<Distribution>>) -> Data {
        Data::Histogram(points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(unit: Unit, bounds: &[f64]) -> Histogram {
        Histogram::new(&Arc::new(Buckets::new(unit, bounds, Arc::default())))
    }

    #[test]
    fn puts_a_value_into_the_bucket_that_ends_with_it() {
        let seconds = histogram(Unit::Seconds, &[0.005, 0.1]);
        seconds.took(Duration::from_millis(5));
        seconds.took(Duration::from_micros(5001));
        seconds.took(Duration::from_secs(2));
        let read = seconds.read();
        assert_eq!((read.counts.as_slice(), read.count()), (&[1, 1, 1][..], 3));
        assert!((read.sum - 2.010_001).abs() < 1e-9, "{}", read.sum);
        let bytes = histogram(Unit::Whole, &[1024.0]);
        bytes.record(1024);
        bytes.record(0);
        bytes.record(u64::from(u32::MAX));
        assert_eq!(bytes.read().counts, [2, 1]);
    }

    #[test]
    fn keeps_finer_buckets_only_while_somebody_asks_for_them() {
        let wanted = Arc::new(AtomicBool::new(false));
        let shape = Buckets::new(Unit::Whole, &[8.0], Arc::clone(&wanted));
        let histogram = Histogram::new(&Arc::new(shape));
        histogram.record(3);
        assert_eq!(histogram.read().exponential, None);
        wanted.store(true, Relaxed);
        histogram.record(3);
        let exponential = histogram.read().exponential.expect("it is asked for");
        assert_eq!(exponential.counts.iter().sum::<u64>(), 1);
    }

    #[test]
    fn keeps_the_last_trace_of_each_bucket() {
        let histogram = histogram(Unit::Whole, &[8.0]);
        let trace = |id: u8| TraceContext {
            trace: [id; 16],
            span: [id; 8],
        };
        histogram.record_in(1, Some(trace(1)));
        histogram.record_in(2, Some(trace(2)));
        histogram.record_in(3, None);
        histogram.record_in(9, Some(trace(3)));
        let exemplars = histogram.read().exemplars;
        let kept: Vec<_> = exemplars.iter().map(|it| (it.value, it.trace[0])).collect();
        assert_eq!(kept, [(2.0, 2), (9.0, 3)]);
    }
}
