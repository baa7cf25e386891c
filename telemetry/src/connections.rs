//! TCP connections that the sidecar accepts, and what becomes of them.

use crate::{
    Metrics, by_label::ByLabel, instrument::Counter, labels::labels, registry::Family,
    snapshot::Descriptor,
};

pub use crate::instrument::Gauge;

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
const REACHED: Descriptor = Descriptor {
    name: "netting.tcp.limits.reached",
    unit: "{time}",
    description: "Bounds that were reached without a connection being refused, by which",
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
    carried: Family<Counter>,
    passed_through: Family<Counter>,
    refused: Family<Counter>,
    reached: Family<Counter>,
}

impl ConnectionMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            opened: metrics.counters(OPENED),
            active: metrics.gauges(ACTIVE),
            carried: metrics.counters(CARRIED),
            passed_through: metrics.counters(PASSED_THROUGH),
            refused: metrics.counters(REFUSED),
            reached: metrics.counters(REACHED),
        }
    }

    /// The instruments for one direction, looked up once.
    #[must_use]
    pub fn of(&self, direction: Direction) -> DirectionMetrics {
        let labels = &labels(&[("direction", direction.as_str())]);
        let by_reason = |family: &Family<Counter>| ByLabel::new(family.clone(), labels, "reason");
        DirectionMetrics {
            opened: self.opened.with(labels),
            active: self.active.with(labels),
            carried: ByLabel::new(self.carried.clone(), labels, "protocol"),
            passed_through: by_reason(&self.passed_through),
            refused: by_reason(&self.refused),
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
    carried: ByLabel<Counter>,
    passed_through: ByLabel<Counter>,
    refused: ByLabel<Counter>,
    reached: ByLabel<Counter>,
}

impl DirectionMetrics {
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

    /// A bound was reached, and no connection refused for it.
    pub fn reached(&self, reason: &'static str) {
        self.reached.of(reason).inc();
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
        let exposition = metrics.expose();
        for series in [
            r#"netting_tcp_connections_opened_total{direction="outbound"} 1"#,
            r#"netting_tcp_connections_passed_through_total{direction="outbound",reason="unknown_address"} 1"#,
        ] {
            assert!(
                exposition.contains(series),
                "{series} is not in\n{exposition}"
            );
        }
    }
}
