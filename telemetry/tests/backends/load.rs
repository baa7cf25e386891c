//! Metrics whose values are known.

use std::{thread, time::Duration};

use netting_telemetry::{
    Metrics,
    instrument::Unit,
    labels::labels,
    registry::Settings,
    snapshot::{Data, Descriptor},
};

pub(crate) const INBOUND: u32 = 12_345;
pub(crate) const OUTBOUND: u32 = 678;
pub(crate) const DURATIONS: u32 = 4_321;
pub(crate) const ACTIVE: u32 = 3;

const REQUESTS: Descriptor = Descriptor {
    name: "netting.proof.requests",
    unit: "{request}",
    description: "Requests that were made",
};
const DURATION: Descriptor = Descriptor {
    name: "http.server.request.duration",
    unit: "s",
    description: "Duration of HTTP server requests",
};
const ACTIVE_REQUESTS: Descriptor = Descriptor {
    name: "http.server.active_requests",
    unit: "{request}",
    description: "Number of active HTTP server requests",
};

/// Those of a pod that nothing happened in yet.
pub(crate) fn metrics() -> Metrics {
    let resource = [
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "web-1"),
        ("service.name", "web"),
    ];
    Metrics::of(labels(&resource), Settings::default(), "sidecar", "0.0.0")
}

/// Does everything that is counted, over some seconds.
pub(crate) fn make(metrics: &Metrics) {
    let requests = metrics.counters(REQUESTS);
    let inbound = requests.with(&labels(&[("netting.direction", "inbound")]));
    let outbound = requests.with(&labels(&[("netting.direction", "outbound")]));
    let bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
    let durations = metrics.histograms(DURATION, Unit::Seconds, &bounds);
    let duration = durations.with(&labels(&[("http.response.status_code", "200")]));
    let active = metrics.gauges(ACTIVE_REQUESTS).only();
    for _ in 0..ACTIVE {
        active.inc();
    }
    for request in 0..INBOUND {
        inbound.inc();
        if request < OUTBOUND {
            outbound.inc();
        }
        if request < DURATIONS {
            // From 0.3 ms to 1.3 s, so that each bucket has some.
            duration.took(Duration::from_micros(300 * u64::from(request) + 300));
        }
        if request.is_multiple_of(1000) {
            // Some intervals of the exporters', to see that nothing is counted twice.
            thread::sleep(Duration::from_millis(300));
        }
    }
}

/// A counter of the exporter's own, and its reasons.
pub(crate) fn exporter_counted(
    metrics: &Metrics,
    name: &str,
    exporter: &str,
) -> Vec<(String, u64)> {
    let snapshot = metrics.snapshot();
    let metric = snapshot
        .metrics
        .iter()
        .find(|metric| metric.descriptor.name == name);
    let Some(Data::Counter(points)) = metric.map(|metric| &metric.data) else {
        return Vec::new();
    };
    let value = |labels: &[netting_telemetry::snapshot::Label], key: &str| {
        let label = labels.iter().find(|label| label.key == key);
        label.map_or(String::new(), |label| label.value.to_string())
    };
    points
        .iter()
        .filter(|point| value(&point.labels, "netting.exporter") == exporter)
        .map(|point| (value(&point.labels, "error.type"), point.value))
        .collect()
}
