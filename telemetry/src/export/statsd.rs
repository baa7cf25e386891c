//! StatsD's lines: what came since the last time, added up before it is sent, so that
//! a busy service costs no more datagrams than an idle one.
//!
//! - A counter is a `|c` with what it grew by.
//! - A gauge is a `|g`.
//! - Of a histogram, each bucket that grew is one sample, from its middle, with a rate
//!   that says how many it stands for: `name:31.6|ms|@0.1` are ten of them. Plain
//!   StatsD has them as timers in milliseconds, Datadog as distributions in the
//!   metric's unit.

use super::{
    delta::Deltas,
    encoded::{Encoded, Packer},
    tags::{self, Tags, plain},
};
use crate::{
    config::{StatsdDialect, TagStyle},
    snapshot::{Data, Distribution, Labels, Metric, Snapshot},
};

/// An Ethernet frame less IPv6's and UDP's headers, and what a tunnel may add.
pub(crate) const UDP_BYTES_MAX: usize = 1432;
/// What Datadog's agent reads at once from its socket.
pub(crate) const UNIX_BYTES_MAX: usize = 8192;

/// Writes a snapshot's lines.
pub(crate) struct Statsd {
    pub(crate) dialect: StatsdDialect,
    pub(crate) style: TagStyle,
    /// Empty, or ends with a dot.
    pub(crate) prefix: String,
    pub(crate) tags: Tags,
    pub(crate) bytes_max: usize,
    pub(crate) deltas: Deltas,
}

/// A series' name and tags, around its value.
struct Frame {
    before: String,
    after: String,
}

impl Statsd {
    /// What came since the last call.
    pub(crate) fn encode(&mut self, snapshot: &Snapshot) -> Encoded {
        let mut packer = Packer::datagrams(self.bytes_max);
        for metric in &snapshot.metrics {
            self.metric(metric, snapshot, &mut packer);
        }
        self.deltas.finish_round();
        packer.finish()
    }

    fn metric(&mut self, metric: &Metric, snapshot: &Snapshot, packer: &mut Packer) {
        let name = metric.descriptor.name;
        let frame = |own: &Self, labels: &Labels| own.frame(name, labels, snapshot);
        match &metric.data {
            Data::Counter(points) => {
                for point in points {
                    let delta = self.deltas.counter(name, point);
                    if delta > 0 {
                        frame(self, &point.labels).line(&delta.to_string(), "c", 1, packer);
                    }
                }
            }
            Data::Gauge(points) => {
                for point in points.iter().filter(|point| point.value.is_finite()) {
                    let frame = frame(self, &point.labels);
                    if point.value < 0.0 && self.dialect == StatsdDialect::Statsd {
                        // A sign makes it a change, except from zero.
                        frame.line("0", "g", 1, packer);
                    }
                    frame.line(&point.value.to_string(), "g", 1, packer);
                }
            }
            Data::Histogram(points) => {
                for point in points {
                    let deltas = self.deltas.histogram(name, point);
                    if deltas.iter().any(|delta| *delta > 0) {
                        let frame = frame(self, &point.labels);
                        self.samples(metric, &point.value, &deltas, &frame, packer);
                    }
                }
            }
        }
    }

    fn samples(
        &self,
        metric: &Metric,
        distribution: &Distribution,
        deltas: &[u64],
        frame: &Frame,
        packer: &mut Packer,
    ) {
        let is_time = metric.descriptor.unit == "s";
        let (kind, factor) = match self.dialect {
            StatsdDialect::Dogstatsd => ("d", 1.0),
            StatsdDialect::Statsd if is_time => ("ms", 1000.0),
            StatsdDialect::Statsd => ("ms", 1.0),
        };
        for (bucket, delta) in deltas.iter().enumerate().filter(|(_, delta)| **delta > 0) {
            let value = middle(&distribution.bounds, bucket) * factor;
            frame.line(&rounded(value), kind, *delta, packer);
        }
    }

    fn frame(&self, name: &str, labels: &Labels, snapshot: &Snapshot) -> Frame {
        let tags = self.tags.of(labels, &snapshot.resource);
        let prefix = &self.prefix;
        let (before, after) = match self.style {
            TagStyle::Path => (
                format!("{prefix}{name}{}", tags::path(&tags)),
                String::new(),
            ),
            TagStyle::Graphite => (
                format!("{prefix}{name}{}", tags::graphite(&tags)),
                String::new(),
            ),
            TagStyle::Influxdb => {
                let taken = |c: char| c.is_whitespace() || ",=:|@".contains(c);
                let one = |(key, value): &(&str, &str)| {
                    format!(",{}={}", plain(key, taken), plain(value, taken))
                };
                let tags: String = tags.iter().map(one).collect();
                (format!("{prefix}{name}{tags}"), String::new())
            }
            TagStyle::Dogstatsd => {
                let taken = |c: char| ",|".contains(c);
                let one = |(key, value): &(&str, &str)| {
                    let key = match self.dialect {
                        StatsdDialect::Dogstatsd => datadog(key),
                        StatsdDialect::Statsd => key,
                    };
                    format!("{}:{}", plain(key, taken), plain(value, taken))
                };
                let tags: Vec<_> = tags.iter().map(one).collect();
                let after = match tags.is_empty() {
                    true => String::new(),
                    false => format!("|#{}", tags.join(",")),
                };
                (format!("{prefix}{name}"), after)
            }
        };
        Frame { before, after }
    }
}

/// What Datadog's agent calls the same.
fn datadog(key: &str) -> &str {
    match key {
        "k8s.namespace.name" => "kube_namespace",
        "k8s.pod.name" => "pod_name",
        "service.name" => "service",
        _ => key,
    }
}

impl Frame {
    fn line(&self, value: &str, kind: &str, stands_for: u64, packer: &mut Packer) {
        let Self { before, after } = self;
        let rate = match stands_for {
            1 => String::new(),
            _ => format!("|@{}", rate(stands_for)),
        };
        packer.line(&format!("{before}:{value}|{kind}{rate}{after}"));
    }
}

/// The sample rate of one for so many. Datadog's agent cuts 1/rate off to an integer, so
/// that the rate must not be too large by even the smallest amount.
#[allow(
    clippy::cast_precision_loss,
    reason = "counts of a few seconds are below 2^53"
)]
fn rate(stands_for: u64) -> f64 {
    let count = stands_for as f64;
    let rate = 1.0 / count;
    if 1.0 / rate < count {
        rate.next_down()
    } else {
        rate
    }
}

/// A value from the middle of a bucket, where its logarithm is.
fn middle(bounds: &[f64], bucket: usize) -> f64 {
    let lower = bucket
        .checked_sub(1)
        .and_then(|below| bounds.get(below))
        .copied();
    match (lower, bounds.get(bucket).copied()) {
        (Some(lower), Some(upper)) if lower > 0.0 => (lower * upper).sqrt(),
        (Some(lower), Some(upper)) => f64::midpoint(lower, upper),
        (None, Some(upper)) => upper / 2.0,
        // Without an end, and nothing is known but where it begins.
        (lower, None) => lower.unwrap_or_default(),
    }
}

/// With four digits: the bucket is not known better.
fn rounded(value: f64) -> String {
    let text = format!("{value:.3e}");
    let value: f64 = text.parse().expect("what was written as a number is one");
    value.to_string()
}

#[cfg(test)]
mod tests;
