//! Counters of sidecars, and what two looks at them come to.

mod histogram;

use std::{collections::BTreeMap, time::Duration};

pub use histogram::Histogram;

/// What one sidecar has counted so far, each series of requests for itself: a sidecar drops
/// those that nothing was added to for long, so a sum of them may be less than it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Requests that are alike in all that is told of them.
    pub requests: BTreeMap<Series, Requests>,
    /// Connections to the application, open now.
    pub connections_open: f64,
    /// Connections to the application, so far.
    pub connections: f64,
}

/// What requests have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Where they go.
    pub way: Way,
    /// The name of their metric with all labels: `http_server_request_duration_seconds{…}`.
    pub name: String,
}

/// Where requests go, seen from the application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To it.
    Inbound,
    /// From it, to nobody that is known.
    Outbound,
    /// From it, to a service or pod.
    To(Peer),
}

/// What one sidecar, or several together, counted between two looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// To the application.
    pub inbound: Requests,
    /// From the application.
    pub outbound: Requests,
    /// Those of them whose service or pod is known, by that.
    pub peers: BTreeMap<Peer, Requests>,
    /// To the application, open now.
    pub connections_open: f64,
    /// To the application.
    pub connections: f64,
}

/// A service or pod that an application talks to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The port that the application uses.
    pub port: u16,
}

/// Requests in one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requests {
    /// All that ended.
    pub ended: f64,
    /// Those with a status of 5xx, or none.
    pub failed: f64,
    /// How long they took.
    pub durations: Histogram,
}

impl Counted {
    /// What was counted since an earlier look. A counter that is lower than before has
    /// begun anew; one that is gone has not counted anything.
    #[must_use]
    pub fn since(&self, before: &Self) -> Counts {
        let connections = self.connections - before.connections;
        let mut counts = Counts {
            connections_open: self.connections_open,
            connections: if connections < 0.0 {
                self.connections
            } else {
                connections
            },
            ..Counts::default()
        };
        for (series, requests) in &self.requests {
            match before.requests.get(series) {
                Some(before) => counts.count(&series.way, &requests.since(before)),
                None => counts.count(&series.way, requests),
            }
        }
        counts
    }
}

impl Counts {
    fn count(&mut self, way: &Way, requests: &Requests) {
        match way {
            Way::Inbound => self.inbound.add(requests),
            Way::Outbound => self.outbound.add(requests),
            Way::To(peer) => {
                self.outbound.add(requests);
                self.peers.entry(peer.clone()).or_default().add(requests);
            }
        }
    }

    /// Adds those of another sidecar.
    pub fn add(&mut self, other: &Self) {
        self.inbound.add(&other.inbound);
        self.outbound.add(&other.outbound);
        for (peer, requests) in &other.peers {
            self.peers.entry(peer.clone()).or_default().add(requests);
        }
        self.connections_open += other.connections_open;
        self.connections += other.connections;
    }
}

impl Requests {
    fn since(&self, before: &Self) -> Self {
        if self.ended < before.ended || self.failed < before.failed {
            return self.clone();
        }
        Self {
            ended: self.ended - before.ended,
            failed: self.failed - before.failed,
            durations: self.durations.since(&before.durations),
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.failed += other.failed;
        self.durations.merge(&other.durations);
    }

    /// How many ended in a second.
    #[must_use]
    pub fn per_second(&self, window: Duration) -> f64 {
        self.ended / window.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The share that did not fail, from 0 to 1; `None` without requests.
    #[must_use]
    pub fn success(&self) -> Option<f64> {
        (self.ended > 0.0).then(|| 1.0 - (self.failed / self.ended).min(1.0))
    }
}

#[cfg(test)]
mod tests;
