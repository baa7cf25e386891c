//! What goes to one peer, or to the application: bytes, connects, requests.

use std::{
    ops::Deref,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    Metrics,
    by_label::ByLabel,
    connections::Direction,
    instrument::{Counter, Histogram, Unit},
    labels::{self, labels},
    peer::{Owner, Peer},
    registry::Family,
    requests::{RequestMetrics, Requests},
    single::Single,
    snapshot::{Descriptor, Labels},
};

/// Upper bounds of the connect time's buckets: from a neighbour on the same node
/// to a timeout.
const CONNECT_SECONDS: [f64; 9] = [0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0];

const CLOSED: Descriptor = Descriptor {
    name: "netting.tcp.connections.closed",
    unit: "{connection}",
    description: "Connections ended, by how",
};
const RETRIED: Descriptor = Descriptor {
    name: "netting.tcp.connect.retries",
    unit: "{connect}",
    description: "Connects tried again at another endpoint, by what failed",
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
const EJECTED: Descriptor = Descriptor {
    name: "netting.endpoint.ejections",
    unit: "{ejection}",
    description: "Endpoints left out for a while because they failed, by how",
};

/// The instruments of all that goes anywhere.
#[derive(Clone, Debug)]
pub struct TrafficMetrics {
    requests: RequestMetrics,
    closed: Family<Counter>,
    retried: Family<Counter>,
    ejected: Family<Counter>,
    sent: Family<Counter>,
    received: Family<Counter>,
    connect: Family<Histogram>,
}

/// The instruments for what goes to one peer, or to the application. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Traffic(Arc<Instruments>);

/// What [`Traffic`] has.
#[derive(Debug)]
pub struct Instruments {
    /// Of requests.
    pub requests: Requests,
    metrics: TrafficMetrics,
    labels: Labels,
    /// Those of owners, as long as anybody has them.
    owners: Mutex<Vec<Weak<Instruments>>>,
    sent: Single<Counter>,
    received: Single<Counter>,
    connect: Single<Histogram>,
    closed: ByLabel<Counter>,
    retried: ByLabel<Counter>,
    ejected: ByLabel<Counter>,
}

impl TrafficMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            requests: RequestMetrics::register(metrics),
            closed: metrics.counters(CLOSED),
            retried: metrics.counters(RETRIED),
            ejected: metrics.counters(EJECTED),
            sent: metrics.counters(SENT),
            received: metrics.counters(RECEIVED),
            connect: metrics.histograms(CONNECT, Unit::Seconds, &CONNECT_SECONDS),
        }
    }

    /// The instruments for one direction, where no peer is known.
    #[must_use]
    pub fn of(&self, direction: Direction) -> Traffic {
        let labels = labels(&[("direction", direction.as_str())]);
        self.with(self.requests.of(direction), &labels)
    }

    /// The instruments for what the application sends to this peer, looked up once.
    #[must_use]
    pub fn to(&self, peer: Peer<'_>) -> Traffic {
        let labels = peer.labels(&labels(&[("direction", Direction::Outbound.as_str())]));
        self.with(self.requests.to(peer), &labels)
    }

    fn with(&self, requests: Requests, labels: &Labels) -> Traffic {
        let by_reason = |family: &Family<Counter>| ByLabel::new(family.clone(), labels, "reason");
        Traffic(Arc::new(Instruments {
            requests,
            metrics: self.clone(),
            labels: Arc::clone(labels),
            owners: Mutex::default(),
            sent: Single::new(self.sent.clone(), Arc::clone(labels)),
            received: Single::new(self.received.clone(), Arc::clone(labels)),
            connect: Single::new(self.connect.clone(), Arc::clone(labels)),
            closed: by_reason(&self.closed),
            retried: by_reason(&self.retried),
            ejected: by_reason(&self.ejected),
        }))
    }
}

impl Traffic {
    /// The instruments for that part of it which goes to pods of this owner, looked up
    /// once for each of them.
    #[must_use]
    pub fn at(&self, owner: Owner<'_>) -> Self {
        let labels = labels::with(&self.labels, &owner.pairs());
        let mut owners = self.owners.lock();
        let mut known = owners.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|known| known.labels == labels) {
            return Self(known);
        }
        let found = self.metrics.with(self.requests.at(owner), &labels);
        owners.retain(|owner| owner.strong_count() > 0);
        owners.push(Arc::downgrade(&found.0));
        found
    }
}

impl Deref for Traffic {
    type Target = Instruments;

    fn deref(&self) -> &Instruments {
        &self.0
    }
}

impl Instruments {
    /// Bytes were passed from downstream to upstream.
    pub fn sent(&self, bytes: u64) {
        self.sent.get().inc_by(bytes);
    }

    /// Bytes were passed from upstream to downstream.
    pub fn received(&self, bytes: u64) {
        self.received.get().inc_by(bytes);
    }

    /// A connection ended.
    pub fn closed(&self, reason: &'static str) {
        self.closed.of(reason).inc();
    }

    /// An upstream was connected in this time; and if others were tried before, why they
    /// were not.
    pub fn connected(&self, took: Duration, retried: Option<&'static str>) {
        self.connect.get().took(took);
        if let Some(reason) = retried {
            self.retried.of(reason).inc();
        }
    }

    /// An endpoint is left out for a while.
    pub fn ejected(&self, reason: &'static str) {
        self.ejected.of(reason).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_owners_serve_under_one_name_is_told_apart() {
        let metrics = Metrics::new("test", "0");
        let reviews = TrafficMetrics::register(&metrics).to(Peer {
            name: "reviews",
            namespace: "shop",
            port: 9080,
        });
        let owner = |name| Owner {
            kind: "Deployment",
            name,
        };
        for (name, bytes) in [("reviews-v1", 3), ("reviews-v2", 4), ("reviews-v1", 5)] {
            reviews.at(owner(name)).sent(bytes);
        }
        let first = reviews.at(owner("reviews-v1"));
        assert!(Arc::ptr_eq(&first.0, &reviews.at(owner("reviews-v1")).0));
        drop(first.requests.begin(crate::requests::Method::Get));
        let exposition = metrics.expose();
        for (metric, owner) in [
            ("netting_tcp_sent_bytes_total", "reviews-v1"),
            ("netting_tcp_sent_bytes_total", "reviews-v2"),
            ("http_client_active_requests", "reviews-v1"),
        ] {
            let owner = format!(r#"k8s_dst_owner_name="{owner}",k8s_dst_owner_type="Deployment""#);
            let is_there = |line: &str| line.starts_with(metric) && line.contains(&owner);
            assert!(
                exposition.lines().any(is_there),
                "{metric} {owner}\n{exposition}"
            );
        }
        let series = |line: &&str| line.starts_with("netting_tcp_");
        assert_eq!(exposition.lines().filter(series).count(), 2, "{exposition}");
    }

    #[test]
    fn is_told_apart_by_where_it_goes() {
        let metrics = Metrics::new("test", "0");
        let traffic = TrafficMetrics::register(&metrics);
        traffic.of(Direction::Inbound).sent(7);
        let reviews = traffic.to(Peer {
            name: "reviews",
            namespace: "shop",
            port: 9080,
        });
        reviews.sent(9);
        reviews.closed("finished");
        reviews.ejected("failures_in_a_row");
        reviews.connected(Duration::from_millis(2), Some("connect_refused"));
        let exposition = metrics.expose();
        let peer = r#"server_address="reviews.shop",server_port="9080",service_peer_name="reviews",service_peer_namespace="shop""#;
        for series in [
            r#"netting_tcp_sent_bytes_total{direction="inbound"} 7"#.to_owned(),
            format!(r#"netting_tcp_sent_bytes_total{{direction="outbound",{peer}}} 9"#),
            format!(
                r#"netting_tcp_connections_closed_total{{direction="outbound",reason="finished",{peer}}} 1"#
            ),
            format!(
                r#"netting_endpoint_ejections_total{{direction="outbound",reason="failures_in_a_row",{peer}}} 1"#
            ),
            format!(
                r#"netting_tcp_connect_retries_total{{direction="outbound",reason="connect_refused",{peer}}} 1"#
            ),
            format!(
                r#"netting_tcp_connect_duration_seconds_bucket{{direction="outbound",{peer},le="0.005"}} 1"#
            ),
        ] {
            let is_there = exposition.lines().any(|line| line == series);
            assert!(is_there, "{series} is not in\n{exposition}");
        }
    }
}
