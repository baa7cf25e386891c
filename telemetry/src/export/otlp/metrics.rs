//! A snapshot as OTLP's metrics.

use std::time::SystemTime;

use super::{attribute, request, resource};
use crate::{
    config::{Histograms, Temporality},
    export::{encoded::Encoded, queue::Batch},
    proto::opentelemetry::proto::{
        common::v1::KeyValue,
        metrics::v1::{
            AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint,
            Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, exemplar,
            exponential_histogram_data_point::Buckets, metric, number_data_point,
        },
        resource::v1::Resource,
    },
    snapshot::{self, Data, Descriptor, Distribution, Exponential, Labels, Point, Snapshot},
};

/// Data points of one request: some 200 KiB, far below what receivers take.
const POINTS_MAX: usize = 500;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const DELTA: i32 = AggregationTemporality::Delta as i32;

/// What goes up and down, and is an `UpDownCounter` by the conventions: it may be added up,
/// over pods for one, which OTLP says by a sum that is not monotonic. Everything else that
/// goes up and down is a gauge.
const ADDED_UP: [&str; 3] = [
    "http.client.active_requests",
    "http.server.active_requests",
    "process.memory.usage",
];

/// What the configuration adds to a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Additions {
    /// Attributes of the resource that go over the process's own.
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) histograms: Histograms,
    /// What the snapshot's counters and histograms are.
    pub(crate) temporality: Temporality,
}

/// Requests with all that the snapshot has.
pub(crate) fn encode(snapshot: &Snapshot, additions: &Additions) -> Encoded {
    let mut requests = Requests {
        at: nanos(snapshot.at),
        histograms: additions.histograms,
        temporality: additions.temporality,
        resource: resource(&snapshot.resource, &additions.resource),
        open: Vec::new(),
        points: 0,
        encoded: Encoded::default(),
    };
    for metric in &snapshot.metrics {
        requests.metric(metric);
    }
    requests.close();
    requests.encoded
}

struct Requests {
    at: u64,
    histograms: Histograms,
    temporality: Temporality,
    resource: Resource,
    open: Vec<Metric>,
    points: usize,
    encoded: Encoded,
}

impl Requests {
    fn metric(&mut self, metric: &snapshot::Metric) {
        let descriptor = metric.descriptor;
        let at = self.at;
        let aggregation_temporality = match self.temporality.is_delta(descriptor.name) {
            true => DELTA,
            false => CUMULATIVE,
        };
        match &metric.data {
            Data::Counter(points) => self.points(descriptor, points, |points| {
                metric::Data::Sum(Sum {
                    data_points: points.iter().map(|point| counter(point, at)).collect(),
                    aggregation_temporality,
                    is_monotonic: true,
                })
            }),
            Data::Gauge(points) if ADDED_UP.contains(&descriptor.name) => {
                self.points(descriptor, points, |points| {
                    metric::Data::Sum(Sum {
                        data_points: points.iter().map(|point| gauge(point, at)).collect(),
                        aggregation_temporality: CUMULATIVE,
                        is_monotonic: false,
                    })
                });
            }
            Data::Gauge(points) => self.points(descriptor, points, |points| {
                metric::Data::Gauge(Gauge {
                    data_points: points.iter().map(|point| gauge(point, at)).collect(),
                })
            }),
            Data::Histogram(points) if self.is_exponential(points) => {
                self.points(descriptor, points, |points| {
                    let points = points.iter().filter_map(|point| exponential(point, at));
                    metric::Data::ExponentialHistogram(ExponentialHistogram {
                        data_points: points.collect(),
                        aggregation_temporality,
                    })
                });
            }
            Data::Histogram(points) => self.points(descriptor, points, |points| {
                metric::Data::Histogram(Histogram {
                    data_points: points.iter().map(|point| histogram(point, at)).collect(),
                    aggregation_temporality,
                })
            }),
        }
    }

    /// A metric is of one kind: exponential if all of its series are.
    fn is_exponential(&self, points: &[Point<Distribution>]) -> bool {
        self.histograms == Histograms::Exponential
            && points.iter().all(|point| point.value.exponential.is_some())
    }

    /// A metric with many series goes into several requests.
    fn points<T>(
        &mut self,
        descriptor: Descriptor,
        points: &[Point<T>],
        data: impl Fn(&[Point<T>]) -> metric::Data,
    ) {
        let mut left = points;
        while !left.is_empty() {
            let room = POINTS_MAX - self.points;
            let (some, rest) = left.split_at(room.min(left.len()));
            left = rest;
            self.points += some.len();
            self.open.push(Metric {
                name: descriptor.name.to_owned(),
                description: descriptor.description.to_owned(),
                unit: descriptor.unit.to_owned(),
                data: Some(data(some)),
                ..Metric::default()
            });
            if self.points == POINTS_MAX {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        if self.points == 0 {
            return;
        }
        self.encoded.batches.push(Batch {
            body: request(&self.resource, &std::mem::take(&mut self.open)),
            items: std::mem::take(&mut self.points) as u64,
        });
    }
}

fn counter(point: &Point<u64>, at: u64) -> NumberDataPoint {
    // OTLP has no larger integers.
    let value = i64::try_from(point.value).unwrap_or(i64::MAX);
    NumberDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: nanos(point.since),
        time_unix_nano: at,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

fn gauge(point: &Point<f64>, at: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: nanos(point.since),
        time_unix_nano: at,
        value: Some(number_data_point::Value::AsDouble(point.value)),
        ..NumberDataPoint::default()
    }
}

fn histogram(point: &Point<Distribution>, at: u64) -> HistogramDataPoint {
    let distribution = &point.value;
    HistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: nanos(point.since),
        time_unix_nano: at,
        count: distribution.count(),
        sum: Some(distribution.sum),
        bucket_counts: distribution.counts.clone(),
        explicit_bounds: distribution.bounds.to_vec(),
        exemplars: exemplars(distribution),
        ..HistogramDataPoint::default()
    }
}

fn exponential(point: &Point<Distribution>, at: u64) -> Option<ExponentialHistogramDataPoint> {
    let Exponential {
        scale,
        zeros,
        offset,
        counts,
    } = point.value.exponential.as_ref()?;
    Some(ExponentialHistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: nanos(point.since),
        time_unix_nano: at,
        // Of these buckets, which may be a moment older or younger than the others.
        count: zeros + counts.iter().sum::<u64>(),
        sum: Some(point.value.sum),
        scale: *scale,
        zero_count: *zeros,
        positive: Some(Buckets {
            offset: *offset,
            bucket_counts: counts.clone(),
        }),
        exemplars: exemplars(&point.value),
        ..ExponentialHistogramDataPoint::default()
    })
}

fn exemplars(distribution: &Distribution) -> Vec<Exemplar> {
    let exemplars = distribution.exemplars.iter();
    exemplars
        .map(|exemplar| Exemplar {
            time_unix_nano: nanos(exemplar.at),
            value: Some(exemplar::Value::AsDouble(exemplar.value)),
            span_id: exemplar.span.to_vec(),
            trace_id: exemplar.trace.to_vec(),
            ..Exemplar::default()
        })
        .collect()
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(attribute).collect()
}

/// Nanoseconds since 1970, which OTLP has until 2554.
pub(crate) fn nanos(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
