//! HTTP requests through the sidecar.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use crate::connections::Direction;

/// Upper bounds of the duration's buckets, in microseconds: from what a proxy on the
/// same node answers to what a person gives up on.
const DURATION_MICROS: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayAndStatus {
    direction: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayAndReason {
    direction: &'static str,
    reason: &'static str,
}

/// A histogram to which any number of threads add without waiting for each other.
#[derive(Clone, Debug, Default)]
struct Durations {
    inner: Arc<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; DURATION_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// The request instruments of a process, as they are registered.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    requests: Family<WayAndStatus, Counter>,
    failed: Family<WayAndReason, Counter>,
    retried: Family<WayAndReason, Counter>,
    duration: Family<Way, Durations>,
}

/// The instruments for the requests of one direction.
#[derive(Clone, Debug)]
pub struct DirectionRequests {
    direction: &'static str,
    by_class: [Counter; CLASSES.len()],
    duration: Durations,
    failed: Family<WayAndReason, Counter>,
    retried: Family<WayAndReason, Counter>,
}

impl RequestMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            failed: Family::default(),
            retried: Family::default(),
            duration: Family::default(),
        };
        let http = registry.sub_registry_with_prefix("http");
        http.register(
            "requests",
            "Requests ended, by the class of their status; none, if they had no response",
            metrics.requests.clone(),
        );
        http.register(
            "requests_failed",
            "Requests that the sidecar answered itself or broke off, by why",
            metrics.failed.clone(),
        );
        http.register(
            "request_retries",
            "Requests sent once more, by why",
            metrics.retried.clone(),
        );
        http.register_with_unit(
            "request_duration",
            "Time from a request's head to its response's end",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    /// The instruments for one direction, looked up once.
    #[must_use]
    pub fn of(&self, direction: Direction) -> DirectionRequests {
        let direction = direction.as_str();
        let class = |status| WayAndStatus { direction, status };
        DirectionRequests {
            direction,
            by_class: CLASSES.map(|status| self.requests.get_or_create_owned(&class(status))),
            duration: self.duration.get_or_create_owned(&Way { direction }),
            failed: self.failed.clone(),
            retried: self.retried.clone(),
        }
    }
}

impl DirectionRequests {
    /// A request ended, with this status if it had one, after this time.
    pub fn ended(&self, status: Option<u16>, took: Duration) {
        let class = status.map_or(0, |status| usize::from(status / 100));
        self.by_class[class.min(CLASSES.len() - 1)].inc();
        self.duration.add(took);
    }

    /// A request had no answer, or none but the sidecar's.
    pub fn failed(&self, reason: &'static str) {
        self.failed.get_or_create(&self.labels(reason)).inc();
    }

    /// A request is sent once more.
    pub fn retried(&self, reason: &'static str) {
        self.retried.get_or_create(&self.labels(reason)).inc();
    }

    fn labels(&self, reason: &'static str) -> WayAndReason {
        WayAndReason {
            direction: self.direction,
            reason,
        }
    }
}

impl Durations {
    fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = DURATION_MICROS.partition_point(|bound| *bound < micros);
        self.inner.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.inner.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
        let bounds = DURATION_MICROS
            .map(seconds)
            .into_iter()
            .chain([f64::INFINITY]);
        let counts = self.inner.counts.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.inner.sum_micros.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn counts_by_class_and_puts_durations_into_buckets() {
        let metrics = Metrics::new("test", "0");
        let requests = metrics.register(RequestMetrics::register);
        let inbound = requests.of(Direction::Inbound);
        inbound.ended(Some(204), Duration::from_micros(500));
        inbound.ended(Some(503), Duration::from_millis(3));
        inbound.ended(None, Duration::from_secs(60));
        inbound.ended(Some(999), Duration::from_secs(1));
        inbound.failed("connect_refused");
        let exposition = metrics.expose().expect("nothing here fails to write");
        for series in [
            r#"netting_http_requests_total{direction="inbound",status="2xx"} 1"#,
            r#"netting_http_requests_total{direction="inbound",status="5xx"} 2"#,
            r#"netting_http_requests_total{direction="inbound",status="none"} 1"#,
            r#"netting_http_requests_failed_total{direction="inbound",reason="connect_refused"} 1"#,
            r#"request_duration_seconds_bucket{le="0.0005",direction="inbound"} 1"#,
            r#"request_duration_seconds_bucket{le="0.005",direction="inbound"} 2"#,
            r#"request_duration_seconds_bucket{le="+Inf",direction="inbound"} 4"#,
            r#"request_duration_seconds_count{direction="inbound"} 4"#,
        ] {
            assert!(
                exposition.contains(series),
                "{series} is not in\n{exposition}"
            );
        }
    }
}
