//! The catalog: what it watches, what it holds, and the streams it serves.

use std::time::{Duration, SystemTime};

use crate::{
    Metrics,
    by_label::ByLabel,
    instrument::{Counter, Gauge, Histogram, Unit},
    labels::{self, labels},
    process,
    registry::Family,
    snapshot::Descriptor,
};

/// Upper bounds of the hand-over time's buckets.
const HAND_OVER_SECONDS: [f64; 9] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.5, 5.0,
];

const STREAMS: Descriptor = Descriptor {
    name: "netting.catalog.streams",
    unit: "{stream}",
    description: "Streams open now",
};
const STREAMS_OPENED: Descriptor = Descriptor {
    name: "netting.catalog.streams.opened",
    unit: "{stream}",
    description: "Streams opened",
};
const STREAMS_CLOSED: Descriptor = Descriptor {
    name: "netting.catalog.streams.closed",
    unit: "{stream}",
    description: "Streams ended, by why",
};
const SUBSCRIPTIONS: Descriptor = Descriptor {
    name: "netting.catalog.subscriptions",
    unit: "{address}",
    description: "Addresses that streams follow, each counted for each stream",
};
const FOLLOWED: Descriptor = Descriptor {
    name: "netting.catalog.followed_addresses",
    unit: "{address}",
    description: "Addresses that at least one stream follows",
};
const MESSAGES: Descriptor = Descriptor {
    name: "netting.catalog.messages",
    unit: "{message}",
    description: "Messages sent to sidecars, by kind",
};
const IGNORED: Descriptor = Descriptor {
    name: "netting.catalog.ignored_requests",
    unit: "{item}",
    description: "Items in requests of sidecars that were ignored, by why",
};
const HAND_OVER: Descriptor = Descriptor {
    name: "netting.catalog.hand_over",
    unit: "s",
    description: "Time from when an event was received to when a stream took what it led to",
};
const WAITING: Descriptor = Descriptor {
    name: "netting.catalog.waiting_queries",
    unit: "{query}",
    description: "HTTP queries that wait for a change",
};
const OBJECTS: Descriptor = Descriptor {
    name: "netting.catalog.objects",
    unit: "{object}",
    description: "What the index holds, by resource",
};
const EVENTS: Descriptor = Descriptor {
    name: "netting.catalog.watch.events",
    unit: "{event}",
    description: "Events from the API server, by resource",
};
const LAST_EVENT: Descriptor = Descriptor {
    name: "netting.catalog.watch.last_event.timestamp",
    unit: "s",
    description: "When the last event was received, in Unix time",
};
const REFUSED: Descriptor = Descriptor {
    name: "netting.catalog.refused_items",
    unit: "{item}",
    description: "Items of objects that were refused, by resource and why",
};
const ERRORS: Descriptor = Descriptor {
    name: "netting.catalog.watch.errors",
    unit: "{error}",
    description: "Failures to list or watch, by resource and why",
};

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
    streams_closed: ByLabel<Counter>,
    messages: ByLabel<Counter>,
    ignored_requests: ByLabel<Counter>,
    hand_over: Histogram,
    objects: ByLabel<Gauge>,
    events: ByLabel<Counter>,
    last_event: ByLabel<Gauge>,
    refused_items: Family<Counter>,
    watch_errors: Family<Counter>,
}

impl CatalogMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let counters = |descriptor, key| {
            let family = metrics.counters(descriptor);
            ByLabel::new(family, &labels::none(), key)
        };
        let gauges = |descriptor, key| {
            let family = metrics.gauges(descriptor);
            ByLabel::new(family, &labels::none(), key)
        };
        let hand_over = metrics.histograms(HAND_OVER, Unit::Seconds, &HAND_OVER_SECONDS);
        Self {
            streams: metrics.gauges(STREAMS).only(),
            streams_opened: metrics.counters(STREAMS_OPENED).only(),
            subscriptions: metrics.gauges(SUBSCRIPTIONS).only(),
            followed: metrics.gauges(FOLLOWED).only(),
            waiting_queries: metrics.gauges(WAITING).only(),
            streams_closed: counters(STREAMS_CLOSED, "reason"),
            messages: counters(MESSAGES, "kind"),
            ignored_requests: counters(IGNORED, "reason"),
            hand_over: hand_over.only(),
            objects: gauges(OBJECTS, "resource"),
            events: counters(EVENTS, "resource"),
            last_event: gauges(LAST_EVENT, "resource"),
            refused_items: metrics.counters(REFUSED),
            watch_errors: metrics.counters(ERRORS),
        }
    }

    /// A stream ended.
    pub fn stream_closed(&self, reason: &'static str) {
        self.streams_closed.of(reason).inc();
    }

    /// A message of this kind was sent.
    pub fn message(&self, kind: &'static str) {
        self.messages.of(kind).inc();
    }

    /// An item of a sidecar's request was ignored.
    pub fn ignored_request(&self, reason: &'static str) {
        self.ignored_requests.of(reason).inc();
    }

    /// A stream took what an event led to, this long after the event.
    pub fn handed_over(&self, after: Duration) {
        self.hand_over.took(after);
    }

    /// The index holds so much of a resource.
    pub fn holds(&self, resource: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.objects.of(resource).set(count);
    }

    /// An event was received.
    pub fn event(&self, resource: &'static str, at: SystemTime) {
        self.events.of(resource).inc();
        self.last_event.of(resource).set(process::unix_seconds(at));
    }

    /// An item of an object was refused.
    pub fn refused_item(&self, resource: &'static str, reason: &'static str) {
        let labels = labels(&[("resource", resource), ("reason", reason)]);
        self.refused_items.with(&labels).inc();
    }

    /// Listing or watching failed.
    pub fn watch_error(&self, resource: &'static str, reason: &'static str) {
        let labels = labels(&[("resource", resource), ("reason", reason)]);
        self.watch_errors.with(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::Metrics;

    #[test]
    fn tells_each_resource_and_reason_apart() {
        let metrics = Metrics::new("test", "0");
        let catalog = CatalogMetrics::register(&metrics);
        catalog.refused_item("endpointslices", "bad_address");
        catalog.watch_error("pods", "forbidden");
        catalog.holds("services", 7);
        catalog.event("services", UNIX_EPOCH + Duration::from_secs(5));
        catalog.stream_closed("silent");
        let exposition = metrics.expose();
        for series in [
            r#"netting_catalog_refused_items_total{reason="bad_address",resource="endpointslices"} 1"#,
            r#"netting_catalog_watch_errors_total{reason="forbidden",resource="pods"} 1"#,
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
