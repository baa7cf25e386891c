//! The sidecar's side of the catalog stream.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of the propagation time's buckets.
const PROPAGATION_SECONDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// The discovery instruments of a sidecar.
#[derive(Clone, Debug)]
pub struct DiscoveryMetrics {
    /// 1 while there is a stream to the catalog, else 0.
    pub connected: Gauge,
    /// Streams opened so far.
    pub streams: Counter,
    /// Addresses followed now.
    pub destinations: Gauge,
    messages: Family<Kind, Counter>,
    propagation: Histogram,
}

impl DiscoveryMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            connected: Gauge::default(),
            streams: Counter::default(),
            destinations: Gauge::default(),
            messages: Family::default(),
            propagation: Histogram::new(PROPAGATION_SECONDS),
        };
        let discovery = registry.sub_registry_with_prefix("discovery");
        discovery.register(
            "connected",
            "1 while there is a stream to the catalog",
            metrics.connected.clone(),
        );
        discovery.register(
            "streams",
            "Streams opened to the catalog",
            metrics.streams.clone(),
        );
        discovery.register(
            "destinations",
            "Addresses followed",
            metrics.destinations.clone(),
        );
        discovery.register(
            "messages",
            "Messages from the catalog, by kind",
            metrics.messages.clone(),
        );
        discovery.register_with_unit(
            "propagation",
            "Time from when the catalog heard of a change to when it was in force here, by both hosts' clocks",
            Unit::Seconds,
            metrics.propagation.clone(),
        );
        metrics
    }

    /// A message of this kind came.
    pub fn message(&self, kind: &'static str) {
        self.messages.get_or_create(&Kind { kind }).inc();
    }

    /// A change is in force, this long after the catalog heard of it.
    pub fn propagated(&self, after: Duration) {
        self.propagation.observe(after.as_secs_f64());
    }
}
