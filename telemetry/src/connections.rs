//! TCP connections through the sidecar.

use std::time::Duration;

use crate::{
    Metrics,
    by_label::ByLabel,
    instrument::{Counter, Histogram, Unit},
    labels::labels,
    registry::Family,
    snapshot::{Descriptor, Labels},
};

pub use crate::instrument::Gauge;

/// Upper bounds of the connect time's buckets: from a neighbour on the same node
/// to a timeout.
const CONNECT_SECONDS: [f64; 9] = [0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0];

const OPENED: Descriptor = Descriptor {
    name: "netting.tcp.connections.opened",
    unit: "{connection}",
    description: "Connections accepted",
};
const ACTIVE: Descriptor = Descriptor {
    name: "netting.tcp.connections.active",
    unit: "{connection}",
    description: "Connections open now",
};
const CLOSED: Descriptor = Descriptor {
    name: "netting.tcp.connections.closed",
    unit: "{connection}",
    description: "Connections ended, by how",
};
const CARRIED: Descriptor = Descriptor {
    name: "netting.tcp.connections.carried",
    unit: "{connection}",
    description: "Connections by the protocol that was found on them",
};
const PASSED_THROUGH: Descriptor = Descriptor {
    name: "netting.tcp.connections.passed_through",
    unit: "{connection}",
    description: "Connections sent on to where they were going, by why",
};
const REFUSED: Descriptor = Descriptor {
    name: "netting.tcp.connections.refused",
    unit: "{connection}",
    description: "Connections refused, by why",
};
const RETRIED: Descriptor = Descriptor {
    name: "netting.tcp.connect.retries",
    unit: "{connect}",
    description: "Connects tried again at another endpoint, by what failed",
};
const REACHED: Descriptor = Descriptor {
    name: "netting.tcp.limits.reached",
    unit: "{time}",
    description: "Bounds that were reached without a connection being refused, by which",
};
const SENT: Descriptor = Descriptor {
    name: "netting.tcp.sent",
    unit: "By",
    description: "Bytes passed from downstream to upstream",
};
const RECEIVED: Descriptor = Descriptor {
    name: "netting.tcp.received",
    unit: "By",
    description: "Bytes passed from upstream to downstream",
};
const CONNECT: Descriptor = Descriptor {
    name: "netting.tcp.connect.duration",
    unit: "s",
    description: "Time to connect to the upstream",
};

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

/// The connection instruments of a process.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    opened: Family<Counter>,
    active: Family<Gauge>,
    closed: Family<Counter>,
    carried: Family<Counter>,
    passed_through: Family<Counter>,
    refused: Family<Counter>,
    retried: Family<Counter>,
    reached: Family<Counter>,
    sent: Family<Counter>,
    received: Family<Counter>,
    connect: Family<Histogram>,
}

impl ConnectionMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            opened: metrics.counters(OPENED),
            active: metrics.gauges(ACTIVE),
            closed: metrics.counters(CLOSED),
            carried: metrics.counters(CARRIED),
            passed_through: metrics.counters(PASSED_THROUGH),
            refused: metrics.counters(REFUSED),
            retried: metrics.counters(RETRIED),
            reached: metrics.counters(REACHED),
            sent: metrics.counters(SENT),
            received: metrics.counters(RECEIVED),
            connect: metrics.histograms(CONNECT, Unit::Seconds, &CONNECT_SECONDS),
        }
    }

    /// The instruments for one direction, looked up once.
    #[must_use]
    pub fn of(&self, direction: Direction) -> DirectionMetrics {
        self.with(&labels(&[("direction", direction.as_str())]))
    }

    fn with(&self, labels: &Labels) -> DirectionMetrics {
        let by_reason = |family: &Family<Counter>| ByLabel::new(family.clone(), labels, "reason");
        DirectionMetrics {
            opened: self.opened.with(labels),
            active: self.active.with(labels),
            sent: self.sent.with(labels),
            received: self.received.with(labels),
            connect: self.connect.with(labels),
            closed: by_reason(&self.closed),
            carried: ByLabel::new(self.carried.clone(), labels, "protocol"),
            passed_through: by_reason(&self.passed_through),
            refused: by_reason(&self.refused),
            retried: by_reason(&self.retried),
            reached: by_reason(&self.reached),
        }
    }
}

/// The instruments for the connections of one direction.
#[derive(Clone, Debug)]
pub struct DirectionMetrics {
    /// Connections accepted.
    pub opened: Counter,
    /// Connections open now.
    pub active: Gauge,
    /// Bytes passed from downstream to upstream.
    pub sent: Counter,
    /// Bytes passed from upstream to downstream.
    pub received: Counter,
    connect: Histogram,
    closed: ByLabel<Counter>,
    carried: ByLabel<Counter>,
    passed_through: ByLabel<Counter>,
    refused: ByLabel<Counter>,
    retried: ByLabel<Counter>,
    reached: ByLabel<Counter>,
}

impl DirectionMetrics {
    /// A connection ended.
    pub fn closed(&self, reason: &'static str) {
        self.closed.of(reason).inc();
    }

    /// A connection carries this protocol.
    pub fn carries(&self, protocol: &'static str) {
        self.carried.of(protocol).inc();
    }

    /// A connection is sent on to where it was going.
    pub fn passed_through(&self, reason: &'static str) {
        self.passed_through.of(reason).inc();
    }

    /// A connection is refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.of(reason).inc();
    }

    /// A connect failed and is tried again elsewhere.
    pub fn retried(&self, reason: &'static str) {
        self.retried.of(reason).inc();
    }

    /// A bound was reached, and no connection refused for it.
    pub fn reached(&self, reason: &'static str) {
        self.reached.of(reason).inc();
    }

    /// The upstream was connected in this time.
    pub fn connected(&self, took: Duration) {
        self.connect.took(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn counts_each_direction_for_itself() {
        let metrics = Metrics::new("test", "0");
        let connections = ConnectionMetrics::register(&metrics);
        connections.of(Direction::Outbound).opened.inc();
        connections
            .of(Direction::Outbound)
            .passed_through("unknown_address");
        connections.of(Direction::Inbound).sent.inc_by(7);
        let exposition = metrics.expose();
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
