//! Prometheus remote write 1.0
//! (<https://prometheus.io/docs/specs/prw/remote_write_spec/>), with the names that
//! `/metrics` has, so that dashboards need not know which of the two it was.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;
use prost::{Message as _, encoding::message};

use super::{encoded::Encoded, queue::Batch};
use crate::{
    config::Histograms,
    prometheus::{SCOPE, label_name, metric_name},
    proto::prometheus::{Exemplar, Label, Sample, TimeSeries, WriteRequest},
    snapshot::{self, Data, Distribution, Labels, Metric, Point, Snapshot},
};

mod native;

/// Series of one request, as Prometheus itself has it.
const SERIES_MAX: usize = 2000;
/// What a series that went away has for a last value, bit by bit.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether the same may be sent again
/// (<https://prometheus.io/docs/specs/prw/remote_write_spec/#retries--backoff>).
pub(crate) fn passes(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Writes a snapshot's series.
pub(crate) struct RemoteWrite {
    /// On every series, in Prometheus' alphabet.
    pub(crate) tags: Vec<(String, String)>,
    /// The configuration's attributes of the resource.
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) histograms: Histograms,
    /// Those of the last snapshot.
    pub(crate) known: HashSet<Known>,
}

/// The labels of a series as they are sent: as text each of them would take an allocation.
pub(crate) type Known = Box<[u8]>;

/// The series of one snapshot.
struct Round<'a> {
    at_ms: i64,
    /// `job`, `instance`, and what is configured.
    common: Vec<Label>,
    histograms: Histograms,
    series: Vec<TimeSeries>,
    snapshot: &'a Snapshot,
}

impl RemoteWrite {
    /// All series, and an end to those that are gone.
    pub(crate) fn encode(&mut self, snapshot: &Snapshot) -> Encoded {
        let mut round = Round {
            at_ms: millis(snapshot.at),
            common: self.common(snapshot),
            histograms: self.histograms,
            series: Vec::new(),
            snapshot,
        };
        round.target_info(&self.resource);
        for metric in &snapshot.metrics {
            round.metric(metric);
        }
        let at_ms = round.at_ms;
        let mut series = round.series;
        let now = series.iter().map(known).collect();
        let before = std::mem::replace(&mut self.known, now);
        let gone = before.difference(&self.known);
        series.extend(gone.map(|known| ended(known, at_ms)));
        requests(series)
    }

    /// An end to all of them: the process goes away.
    pub(crate) fn end(&mut self, at: SystemTime) -> Encoded {
        // After the last values, which are then seen by whoever asks for that moment.
        let at_ms = millis(at + Duration::from_millis(1));
        let known = std::mem::take(&mut self.known);
        requests(known.iter().map(|known| ended(known, at_ms)).collect())
    }

    fn common(&self, snapshot: &Snapshot) -> Vec<Label> {
        let resource = |key: &str| {
            let overridden = self.resource.iter().find(|(other, _)| other == key);
            let own = || snapshot.resource.iter().find(|label| label.key == key);
            let overridden = overridden.map(|(_, value)| value.as_str());
            overridden.or_else(|| own().map(|label| &*label.value))
        };
        let mut common = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            let value = value.filter(|value| !value.is_empty());
            common.extend(value.map(|value| label(name, value)));
        };
        // As OpenTelemetry's translation has them.
        let job = resource("service.name").map(|name| match resource("service.namespace") {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        });
        add("job", job);
        let instance = resource("service.instance.id").or(resource("k8s.pod.name"));
        add("instance", instance.map(ToOwned::to_owned));
        for (name, value) in &self.tags {
            add(&label_name(name), Some(value.clone()));
        }
        common
    }
}

impl Round<'_> {
    /// Who the process is, to be joined by `job` and `instance`.
    fn target_info(&mut self, overrides: &[(String, String)]) {
        let own = self.snapshot.resource.iter();
        let own = own.map(|label| (label.key, &*label.value));
        let overrides = overrides
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let mut more: Vec<_> = overrides
            .chain(own)
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| label(&label_name(key), value.to_owned()))
            .collect();
        if more.is_empty() {
            return;
        }
        more.push(label("__name__", "target_info".to_owned()));
        let labels = self.labels(more);
        self.series.push(sampled(labels, 1.0, self.at_ms));
    }

    fn metric(&mut self, metric: &Metric) {
        let name = metric_name(metric).family;
        match &metric.data {
            Data::Counter(points) => {
                let name = total(name);
                for point in points {
                    self.sample(&name, &point.labels, None, number(point.value));
                }
            }
            Data::Gauge(points) => {
                for point in points {
                    self.sample(&name, &point.labels, None, point.value);
                }
            }
            Data::Histogram(points) => {
                for point in points {
                    self.histogram(&name, point);
                }
            }
        }
    }

    fn histogram(&mut self, name: &str, point: &Point<Distribution>) {
        let distribution = &point.value;
        if self.histograms == Histograms::Exponential
            && let Some(native) = native::histogram(distribution, self.at_ms)
        {
            let labels = self.named(name, &point.labels, None);
            self.series.push(TimeSeries {
                labels,
                histograms: vec![native],
                exemplars: distribution.exemplars.iter().map(exemplar).collect(),
                ..TimeSeries::default()
            });
            return;
        }
        let bucket = format!("{name}_bucket");
        let count = distribution.count();
        let bounds = distribution.cumulative();
        let bounds = bounds.map(|(bound, below)| (bound.to_string(), below, bound));
        let last = ("+Inf".to_owned(), count, f64::INFINITY);
        let mut lower = f64::NEG_INFINITY;
        for (le, below, upper) in bounds.chain([last]) {
            self.sample(&bucket, &point.labels, Some(&le), number(below));
            let within =
                |exemplar: &&snapshot::Exemplar| exemplar.value > lower && exemplar.value <= upper;
            let found = distribution.exemplars.iter().find(within).map(exemplar);
            if let Some(series) = self.series.last_mut() {
                series.exemplars.extend(found);
            }
            lower = upper;
        }
        self.sample(&format!("{name}_count"), &point.labels, None, number(count));
        self.sample(
            &format!("{name}_sum"),
            &point.labels,
            None,
            distribution.sum,
        );
    }

    fn sample(&mut self, name: &str, labels: &Labels, le: Option<&str>, value: f64) {
        let labels = self.named(name, labels, le);
        self.series.push(sampled(labels, value, self.at_ms));
    }

    fn named(&self, name: &str, labels: &Labels, le: Option<&str>) -> Vec<Label> {
        let own = labels.iter().filter(|own| !own.value.is_empty());
        let mut all: Vec<_> = own
            .map(|own| label(&label_name(own.key), own.value.to_string()))
            .collect();
        all.push(label("__name__", name.to_owned()));
        all.push(label(SCOPE.0, SCOPE.1.to_owned()));
        all.extend(le.map(|le| label("le", le.to_owned())));
        self.labels(all)
    }

    /// Sorted, each name once; those of all series give way.
    fn labels(&self, mut labels: Vec<Label>) -> Vec<Label> {
        labels.extend(self.common.iter().cloned());
        // Stable: the first of a name stays the first.
        labels.sort_by(|a, b| a.name.cmp(&b.name));
        labels.dedup_by(|next, first| next.name == first.name);
        labels
    }
}

/// Requests of a bounded number of series, compressed.
fn requests(series: Vec<TimeSeries>) -> Encoded {
    let mut encoded = Encoded::default();
    let mut series = series.into_iter().peekable();
    while series.peek().is_some() {
        let timeseries: Vec<_> = series.by_ref().take(SERIES_MAX).collect();
        let items = timeseries.len() as u64;
        let request = WriteRequest {
            timeseries,
            metadata: Vec::new(),
        };
        let body = compressed(&request.encode_to_vec());
        encoded.batches.push(Batch { body, items });
    }
    encoded
}

fn compressed(body: &[u8]) -> Bytes {
    let compressed = snap::raw::Encoder::new().compress_vec(body);
    compressed.expect("2,000 series are far below 4 GiB").into()
}

fn sampled(labels: Vec<Label>, value: f64, timestamp: i64) -> TimeSeries {
    TimeSeries {
        labels,
        samples: vec![Sample { value, timestamp }],
        ..TimeSeries::default()
    }
}

fn exemplar(exemplar: &snapshot::Exemplar) -> Exemplar {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Exemplar {
        labels: vec![
            label("span_id", hex(&exemplar.span)),
            label("trace_id", hex(&exemplar.trace)),
        ],
        value: exemplar.value,
        timestamp: millis(exemplar.at),
    }
}

fn label(name: &str, value: String) -> Label {
    Label {
        name: name.to_owned(),
        value,
    }
}

fn total(family: String) -> String {
    if family.ends_with("_total") {
        family
    } else {
        family + "_total"
    }
}

fn known(series: &TimeSeries) -> Known {
    let mut known = Vec::new();
    message::encode_repeated(1, &series.labels, &mut known);
    known.into()
}

/// A series, at its end.
fn ended(known: &Known, timestamp: i64) -> TimeSeries {
    let series = TimeSeries::decode(&**known).expect("it is what was encoded");
    sampled(series.labels, STALE, timestamp)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "Prometheus has nothing but floats"
)]
fn number(count: u64) -> f64 {
    count as f64
}

fn millis(at: SystemTime) -> i64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
