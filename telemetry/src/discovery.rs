//! The sidecar's side of the catalog stream.

use std::time::{Duration, SystemTime};

use crate::{
    Metrics,
    by_label::ByLabel,
    instrument::{Counter, Gauge, Histogram, Unit},
    labels, process,
    snapshot::Descriptor,
};

/// Upper bounds of the propagation time's buckets.
const PROPAGATION_SECONDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0];

const CONNECTED: Descriptor = Descriptor {
    name: "netting.discovery.connected",
    unit: "{stream}",
    description: "1 while there is a stream to the catalog",
};
const HEARD: Descriptor = Descriptor {
    name: "netting.discovery.last_message.timestamp",
    unit: "s",
    description: "When the catalog was last heard of, in Unix time; 0 if it never was",
};
const STREAMS: Descriptor = Descriptor {
    name: "netting.discovery.streams",
    unit: "{stream}",
    description: "Streams opened to the catalog",
};
const DESTINATIONS: Descriptor = Descriptor {
    name: "netting.discovery.destinations",
    unit: "{address}",
    description: "Addresses followed",
};
const MESSAGES: Descriptor = Descriptor {
    name: "netting.discovery.messages",
    unit: "{message}",
    description: "Messages from the catalog, by kind",
};
const PROPAGATION: Descriptor = Descriptor {
    name: "netting.discovery.propagation",
    unit: "s",
    description: "Time from when the catalog heard of a change to when it was in force here, by the clocks of both hosts",
};

/// The discovery instruments of a sidecar.
#[derive(Clone, Debug)]
pub struct DiscoveryMetrics {
    /// 1 while there is a stream to the catalog, else 0.
    pub connected: Gauge,
    streams: Counter,
    /// Addresses followed now.
    pub destinations: Gauge,
    heard: Gauge,
    messages: ByLabel<Counter>,
    propagation: Histogram,
}

impl DiscoveryMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let propagation = metrics.histograms(PROPAGATION, Unit::Seconds, &PROPAGATION_SECONDS);
        Self {
            connected: metrics.gauges(CONNECTED).only(),
            streams: metrics.counters(STREAMS).only(),
            destinations: metrics.gauges(DESTINATIONS).only(),
            heard: metrics.gauges(HEARD).only(),
            messages: ByLabel::new(metrics.counters(MESSAGES), &labels::none(), "kind"),
            propagation: propagation.only(),
        }
    }

    /// The catalog accepted a stream.
    pub fn opened(&self) {
        self.streams.inc();
        self.connected.set(1);
        self.heard_of();
    }

    /// A message of this kind came.
    pub fn message(&self, kind: &'static str) {
        self.messages.of(kind).inc();
        self.heard_of();
    }

    fn heard_of(&self) {
        self.heard.set(process::unix_seconds(SystemTime::now()));
    }

    /// A change is in force, this long after the catalog heard of it.
    pub fn propagated(&self, after: Duration) {
        self.propagation.took(after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Data;

    #[test]
    fn tells_when_the_catalog_was_last_heard_of() {
        let metrics = Metrics::new("test", "0");
        let discovery = DiscoveryMetrics::register(&metrics);
        let heard = || {
            let snapshot = metrics.snapshot();
            let mut all = snapshot.metrics.iter();
            let metric = all.find(|metric| metric.descriptor == HEARD);
            match metric.map(|metric| &metric.data) {
                Some(Data::Gauge(points)) => points[0].value,
                other => panic!("{other:?} is no gauge"),
            }
        };
        assert_eq!(heard(), 0.0);
        let before = process::unix_seconds(SystemTime::now());
        discovery.opened();
        let (opened, before) = (heard(), u32::try_from(before).expect("it is not yet 2106"));
        assert!(opened >= f64::from(before), "{opened} {before}");
        discovery.message("heartbeat");
        assert!(heard() >= opened);
        assert_eq!(discovery.connected.get(), 1);
    }
}
