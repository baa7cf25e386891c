//! The catalog: what it watches, what it holds, and the streams it serves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of the hand-over time's buckets.
const HAND_OVER_SECONDS: [f64; 9] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.5, 5.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceAndReason {
    resource: &'static str,
    reason: &'static str,
}

/// The instruments of a catalog.
#[derive(Clone, Debug)]
pub struct CatalogMetrics {
    /// Streams open now.
    pub streams: Gauge,
    /// Streams opened so far.
    pub streams_opened: Counter,
    /// Addresses that streams follow, each counted for each stream.
    pub subscriptions: Gauge,
    /// Addresses that at least one stream follows.
    pub followed: Gauge,
    /// HTTP queries that wait for a change.
    pub waiting_queries: Gauge,
    streams_closed: Family<Reason, Counter>,
    messages: Family<Kind, Counter>,
    ignored_requests: Family<Reason, Counter>,
    hand_over: Histogram,
    objects: Family<Resource, Gauge>,
    events: Family<Resource, Counter>,
    last_event: Family<Resource, Gauge>,
    refused_items: Family<ResourceAndReason, Counter>,
    watch_errors: Family<ResourceAndReason, Counter>,
}

impl CatalogMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            streams: Gauge::default(),
            streams_opened: Counter::default(),
            subscriptions: Gauge::default(),
            followed: Gauge::default(),
            waiting_queries: Gauge::default(),
            streams_closed: Family::default(),
            messages: Family::default(),
            ignored_requests: Family::default(),
            hand_over: Histogram::new(HAND_OVER_SECONDS),
            objects: Family::default(),
            events: Family::default(),
            last_event: Family::default(),
            refused_items: Family::default(),
            watch_errors: Family::default(),
        };
        let catalog = registry.sub_registry_with_prefix("catalog");
        metrics.register_streams(catalog);
        metrics.register_watches(catalog);
        metrics
    }

    fn register_streams(&self, catalog: &mut Registry) {
        catalog.register("streams", "Streams open now", self.streams.clone());
        catalog.register(
            "streams_opened",
            "Streams opened",
            self.streams_opened.clone(),
        );
        catalog.register(
            "streams_closed",
            "Streams ended, by why",
            self.streams_closed.clone(),
        );
        catalog.register(
            "subscriptions",
            "Addresses that streams follow, each counted for each stream",
            self.subscriptions.clone(),
        );
        catalog.register(
            "followed_addresses",
            "Addresses that at least one stream follows",
            self.followed.clone(),
        );
        catalog.register(
            "messages",
            "Messages sent to sidecars, by kind",
            self.messages.clone(),
        );
        catalog.register(
            "ignored_requests",
            "Items of sidecars' requests that were ignored, by why",
            self.ignored_requests.clone(),
        );
        catalog.register_with_unit(
            "hand_over",
            "Time from when an event was received to when a stream took what it led to",
            Unit::Seconds,
            self.hand_over.clone(),
        );
        catalog.register(
            "waiting_queries",
            "HTTP queries that wait for a change",
            self.waiting_queries.clone(),
        );
    }

    fn register_watches(&self, catalog: &mut Registry) {
        catalog.register(
            "objects",
            "What the index holds, by resource",
            self.objects.clone(),
        );
        catalog.register(
            "watch_events",
            "Events from the API server, by resource",
            self.events.clone(),
        );
        catalog.register_with_unit(
            "watch_last_event_timestamp",
            "When the last event was received, since the Unix epoch",
            Unit::Seconds,
            self.last_event.clone(),
        );
        catalog.register(
            "refused_items",
            "Items of objects that were refused, by resource and why",
            self.refused_items.clone(),
        );
        catalog.register(
            "watch_errors",
            "Failures to list or watch, by resource and why",
            self.watch_errors.clone(),
        );
    }

    /// A stream ended.
    pub fn stream_closed(&self, reason: &'static str) {
        self.streams_closed.get_or_create(&Reason { reason }).inc();
    }

    /// A message of this kind was sent.
    pub fn message(&self, kind: &'static str) {
        self.messages.get_or_create(&Kind { kind }).inc();
    }

    /// An item of a sidecar's request was ignored.
    pub fn ignored_request(&self, reason: &'static str) {
        self.ignored_requests
            .get_or_create(&Reason { reason })
            .inc();
    }

    /// A stream took what an event led to, this long after the event.
    pub fn handed_over(&self, after: Duration) {
        self.hand_over.observe(after.as_secs_f64());
    }

    /// The index holds so much of a resource.
    pub fn holds(&self, resource: &'static str, count: usize) {
        let gauge = self.objects.get_or_create_owned(&Resource { resource });
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// An event was received.
    pub fn event(&self, resource: &'static str, at: SystemTime) {
        let resource = Resource { resource };
        self.events.get_or_create(&resource).inc();
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let gauge = self.last_event.get_or_create_owned(&resource);
        gauge.set(i64::try_from(since).unwrap_or(i64::MAX));
    }

    /// An item of an object was refused.
    pub fn refused_item(&self, resource: &'static str, reason: &'static str) {
        let labels = ResourceAndReason { resource, reason };
        self.refused_items.get_or_create(&labels).inc();
    }

    /// Listing or watching failed.
    pub fn watch_error(&self, resource: &'static str, reason: &'static str) {
        let labels = ResourceAndReason { resource, reason };
        self.watch_errors.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn tells_each_resource_and_reason_apart() {
        let metrics = Metrics::new("test", "0");
        let catalog = metrics.register(CatalogMetrics::register);
        catalog.refused_item("endpointslices", "bad_address");
        catalog.watch_error("pods", "forbidden");
        catalog.holds("services", 7);
        catalog.event("services", UNIX_EPOCH + Duration::from_secs(5));
        catalog.stream_closed("silent");
        let exposition = metrics.expose().expect("nothing here fails to write");
        for series in [
            r#"netting_catalog_refused_items_total{resource="endpointslices",reason="bad_address"} 1"#,
            r#"netting_catalog_watch_errors_total{resource="pods",reason="forbidden"} 1"#,
            r#"netting_catalog_objects{resource="services"} 7"#,
            r#"netting_catalog_watch_last_event_timestamp_seconds{resource="services"} 5"#,
            r#"netting_catalog_streams_closed_total{reason="silent"} 1"#,
        ] {
            assert!(
                exposition.contains(series),
                "{series} is not in\n{exposition}"
            );
        }
    }
}
