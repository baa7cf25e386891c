//! What the instruments say at one moment: what every exporter is given, and all that
//! it is given. Plain data.

use std::{sync::Arc, time::SystemTime};

/// What a metric is, whoever exports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// By OpenTelemetry's conventions, such as `http.server.request.duration`; each
    /// exporter translates it into its own alphabet.
    pub name: &'static str,
    /// A UCUM unit as OpenTelemetry writes them: `s`, `By`, `{request}`, `1`.
    pub unit: &'static str,
    /// One sentence without a full stop.
    pub description: &'static str,
}

/// An attribute's key, such as `http.response.status_code`, and its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// By OpenTelemetry's conventions.
    pub key: &'static str,
    /// Any UTF-8.
    pub value: Arc<str>,
}

/// What tells a metric's series apart, sorted by key. Equal for the life of a series,
/// and cheap to clone.
pub type Labels = Arc<[Label]>;

/// All metrics of a process.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What the process is: `service.name`, `k8s.pod.name` and the like, sorted by key.
    pub resource: Labels,
    /// When it was taken.
    pub at: SystemTime,
    /// Sorted by name; none of them without series.
    pub metrics: Vec<Metric>,
}

/// One metric with its series.
#[derive(Clone, Debug)]
pub struct Metric {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its series, in no particular order.
    pub data: Data,
}

/// The series of a metric, by its kind.
#[derive(Clone, Debug)]
pub enum Data {
    /// Only grows. What was counted since [`Point::since`].
    Counter(Vec<Point<u64>>),
    /// A value that goes up and down, such as active requests or bytes in use.
    Gauge(Vec<Point<f64>>),
    /// How values are distributed.
    Histogram(Vec<Point<Distribution>>),
}

/// One series.
#[derive(Clone, Debug)]
pub struct Point<T> {
    /// What tells it apart.
    pub labels: Labels,
    /// When it began to count, from zero.
    pub since: SystemTime,
    /// What it has come to, cumulative.
    pub value: T,
}

/// A histogram since its series began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Inclusive upper bounds, rising, in the metric's unit; the last bucket has none.
    pub bounds: Arc<[f64]>,
    /// Of each bucket by itself (not of all below it): one more than there are bounds.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum: f64,
    /// The same values in finer buckets that grow by a factor, if they are kept.
    pub exponential: Option<Exponential>,
    /// The last value of a bucket that belongs to a sampled trace, at most one for each.
    pub exemplars: Vec<Exemplar>,
}

impl Distribution {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each upper bound, and how many values are not above it. All of them are below
    /// infinity, which is not among the bounds.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.bounds.iter().copied().zip(counts)
    }
}

/// Buckets of a base-2 exponential histogram, as OTLP and Prometheus' native
/// histograms have them: bucket `i` of `counts` holds values in `(b^(offset+i),
/// b^(offset+i+1)]` with `b = 2^(2^-scale)`.
/// <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exponential {
    /// How fine the buckets are.
    pub scale: i32,
    /// Values that are zero.
    pub zeros: u64,
    /// The index of the first of `counts`.
    pub offset: i32,
    /// Values in each bucket, from `offset` on.
    pub counts: Vec<u64>,
}

/// A value that came from a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// In the metric's unit.
    pub value: f64,
    /// When it was seen.
    pub at: SystemTime,
    /// The trace.
    pub trace: [u8; 16],
    /// The span in it.
    pub span: [u8; 8],
}
