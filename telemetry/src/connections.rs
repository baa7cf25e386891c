//! TCP connections through the sidecar.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

pub use prometheus_client::metrics::gauge::Gauge;

/// Upper bounds of the connect time's buckets: from a neighbour on the same node
/// to a timeout.
const CONNECT_SECONDS: [f64; 9] = [0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Which way a connection goes, seen from the local application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the local application.
    Inbound,
    /// From the local application.
    Outbound,
}

impl Direction {
    /// As in logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayAndReason {
    direction: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayAndProtocol {
    direction: &'static str,
    protocol: &'static str,
}

/// The connection instruments of a process, as they are registered.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    opened: Family<Way, Counter>,
    active: Family<Way, Gauge>,
    closed: Family<WayAndReason, Counter>,
    carried: Family<WayAndProtocol, Counter>,
    passed_through: Family<WayAndReason, Counter>,
    refused: Family<WayAndReason, Counter>,
    retried: Family<WayAndReason, Counter>,
    reached: Family<WayAndReason, Counter>,
    sent: Family<Way, Counter>,
    received: Family<Way, Counter>,
    connect: Family<Way, Histogram, fn() -> Histogram>,
}

impl ConnectionMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            opened: Family::default(),
            active: Family::default(),
            closed: Family::default(),
            carried: Family::default(),
            passed_through: Family::default(),
            refused: Family::default(),
            retried: Family::default(),
            reached: Family::default(),
            sent: Family::default(),
            received: Family::default(),
            connect: Family::new_with_constructor(|| Histogram::new(CONNECT_SECONDS)),
        };
        let tcp = registry.sub_registry_with_prefix("tcp");
        tcp.register(
            "connections_opened",
            "Connections accepted",
            metrics.opened.clone(),
        );
        tcp.register(
            "connections_active",
            "Connections open now",
            metrics.active.clone(),
        );
        tcp.register(
            "connections_closed",
            "Connections ended, by how",
            metrics.closed.clone(),
        );
        tcp.register(
            "connections_carried",
            "Connections by the protocol that was found on them",
            metrics.carried.clone(),
        );
        tcp.register(
            "connections_passed_through",
            "Connections sent on to where they were going, by why",
            metrics.passed_through.clone(),
        );
        tcp.register(
            "connections_refused",
            "Connections refused, by why",
            metrics.refused.clone(),
        );
        tcp.register(
            "connect_retries",
            "Connects tried again at another endpoint, by what failed",
            metrics.retried.clone(),
        );
        tcp.register(
            "limits_reached",
            "Bounds that were reached without a connection being refused, by which",
            metrics.reached.clone(),
        );
        tcp.register_with_unit(
            "sent",
            "Bytes passed from downstream to upstream",
            Unit::Bytes,
            metrics.sent.clone(),
        );
        tcp.register_with_unit(
            "received",
            "Bytes passed from upstream to downstream",
            Unit::Bytes,
            metrics.received.clone(),
        );
        tcp.register_with_unit(
            "connect_duration",
            "Time to connect to the upstream",
            Unit::Seconds,
            metrics.connect.clone(),
        );
        metrics
    }

    /// The instruments for one direction, looked up once.
    #[must_use]
    pub fn of(&self, direction: Direction) -> DirectionMetrics {
        let way = Way {
            direction: direction.as_str(),
        };
        DirectionMetrics {
            direction: direction.as_str(),
            opened: self.opened.get_or_create_owned(&way),
            active: self.active.get_or_create_owned(&way),
            sent: self.sent.get_or_create_owned(&way),
            received: self.received.get_or_create_owned(&way),
            connect: self.connect.get_or_create_owned(&way),
            closed: self.closed.clone(),
            carried: self.carried.clone(),
            passed_through: self.passed_through.clone(),
            refused: self.refused.clone(),
            retried: self.retried.clone(),
            reached: self.reached.clone(),
        }
    }
}

/// The instruments for the connections of one direction.
#[derive(Clone, Debug)]
pub struct DirectionMetrics {
    direction: &'static str,
    /// Connections accepted.
    pub opened: Counter,
    /// Connections open now.
    pub active: Gauge,
    /// Bytes passed from downstream to upstream.
    pub sent: Counter<u64, AtomicU64>,
    /// Bytes passed from upstream to downstream.
    pub received: Counter<u64, AtomicU64>,
    connect: Histogram,
    closed: Family<WayAndReason, Counter>,
    carried: Family<WayAndProtocol, Counter>,
    passed_through: Family<WayAndReason, Counter>,
    refused: Family<WayAndReason, Counter>,
    retried: Family<WayAndReason, Counter>,
    reached: Family<WayAndReason, Counter>,
}

impl DirectionMetrics {
    /// A connection ended.
    pub fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&self.labels(reason)).inc();
    }

    /// A connection carries this protocol.
    pub fn carries(&self, protocol: &'static str) {
        let labels = WayAndProtocol {
            direction: self.direction,
            protocol,
        };
        self.carried.get_or_create(&labels).inc();
    }

    /// A connection is sent on to where it was going.
    pub fn passed_through(&self, reason: &'static str) {
        self.passed_through
            .get_or_create(&self.labels(reason))
            .inc();
    }

    /// A connection is refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&self.labels(reason)).inc();
    }

    /// A connect failed and is tried again elsewhere.
    pub fn retried(&self, reason: &'static str) {
        self.retried.get_or_create(&self.labels(reason)).inc();
    }

    /// A bound was reached, and no connection refused for it.
    pub fn reached(&self, reason: &'static str) {
        self.reached.get_or_create(&self.labels(reason)).inc();
    }

    /// The upstream was connected in this time.
    pub fn connected(&self, took: Duration) {
        self.connect.observe(took.as_secs_f64());
    }

    fn labels(&self, reason: &'static str) -> WayAndReason {
        WayAndReason {
            direction: self.direction,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn counts_each_direction_for_itself() {
        let metrics = Metrics::new("test", "0");
        let connections = metrics.register(ConnectionMetrics::register);
        connections.of(Direction::Outbound).opened.inc();
        connections
            .of(Direction::Outbound)
            .passed_through("unknown_address");
        connections.of(Direction::Inbound).sent.inc_by(7);
        let exposition = metrics.expose().expect("nothing here fails to write");
        for series in [
            r#"netting_tcp_connections_opened_total{direction="outbound"} 1"#,
            r#"netting_tcp_connections_passed_through_total{direction="outbound",reason="unknown_address"} 1"#,
            r#"netting_tcp_sent_bytes_total{direction="inbound"} 7"#,
        ] {
            assert!(
                exposition.contains(series),
                "{series} is not in\n{exposition}"
            );
        }
    }
}
