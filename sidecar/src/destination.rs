//! What the catalog said of one address, and the choice among its endpoints.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::addr::EndpointAddr;

mod update;

pub use update::BadUpdate;

/// An endpoint that just failed to be connected is left alone for this long, while
/// there are others. Without it, a dead endpoint, which has no open connections,
/// would look like the best choice of all.
const AVOID_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// One address's state, as of one message of the catalog. Never changed: an update
/// makes a new one, in which endpoints that stayed keep their load.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// A service, or one workload.
    pub kind: Kind,
    /// Namespace of the service or pod.
    pub namespace: String,
    /// Name of the service or pod.
    pub name: String,
    /// Name of the service's port; empty if it has none.
    pub port_name: String,
    /// The protocol that Kubernetes objects name; empty if they don't.
    pub protocol_hint: String,
    /// Only endpoints on the sidecar's own node may be used.
    pub node_local: bool,
    /// All endpoints, ordered by address.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Hash of this state, as the catalog computes it.
    pub hash: Vec<u8>,
    /// Those of the endpoints that connections may go to now.
    eligible: Vec<Arc<Endpoint>>,
}

/// What kind of thing has the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Service's cluster IP.
    Service,
    /// A pod's own IP.
    Workload,
}

/// One ip:port behind an address.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub addr: EndpointAddr,
    /// Ready to be sent connections.
    pub ready: bool,
    /// Able to serve, whether or not it is terminating.
    pub serving: bool,
    /// Shutting down.
    pub terminating: bool,
    /// Share of connections relative to the others; at least 1.
    pub weight: u32,
    /// Node it runs on; empty if not known.
    pub node: String,
    /// Zone it runs in; empty if not known.
    pub zone: String,
    /// Pod behind it, as `namespace/name`; empty if not known.
    pub pod: String,
    /// Whether that pod has a Netting sidecar.
    pub meshed: bool,
    load: Arc<Load>,
}

/// What this sidecar has done with an endpoint. Outlives updates of the endpoint.
#[derive(Debug, Default)]
struct Load {
    open: AtomicUsize,
    opened: AtomicU64,
    failed: AtomicU64,
    avoid_until: Mutex<Option<Instant>>,
}

/// A choice, counted as an open connection until it is dropped.
#[derive(Debug)]
pub struct Chosen {
    endpoint: Arc<Endpoint>,
}

impl Destination {
    /// Chooses an endpoint for a connection: of two random ones, the one with fewer
    /// open connections for its weight. `failed` is one that was tried in vain.
    /// `None` if there is no (other) endpoint that may be used.
    #[must_use]
    pub fn choose(&self, failed: Option<EndpointAddr>, now: Instant) -> Option<Chosen> {
        let healthy = |endpoint: &&Arc<Endpoint>| !endpoint.load.is_avoided(now);
        let other = |endpoint: &&Arc<Endpoint>| Some(endpoint.addr) != failed;
        let candidates = || self.eligible.iter().filter(other);
        let endpoint = match candidates().filter(healthy).count() {
            // All of them failed lately: any may have recovered.
            0 => two_choices(candidates(), candidates().count())?,
            count => two_choices(candidates().filter(healthy), count)?,
        };
        Some(Chosen::new(Arc::clone(endpoint)))
    }

    /// Sorts out which endpoints connections may go to: those that are ready; if
    /// none is, those that serve while they terminate, as kube-proxy does
    /// (KEP-1669).
    fn with_eligible(mut self, node: &str) -> Self {
        let reachable = |endpoint: &&Arc<Endpoint>| {
            !self.node_local || (!node.is_empty() && endpoint.node == node)
        };
        let those = |usable: fn(&Endpoint) -> bool| -> Vec<Arc<Endpoint>> {
            let endpoints = self.endpoints.iter().filter(reachable);
            endpoints
                .filter(|endpoint| usable(endpoint))
                .cloned()
                .collect()
        };
        let mut eligible = those(|endpoint| endpoint.ready && !endpoint.terminating);
        if eligible.is_empty() {
            eligible = those(|endpoint| endpoint.serving && endpoint.terminating);
        }
        self.eligible = eligible;
        self
    }
}

/// Power of two choices among `count` candidates.
fn two_choices<'e>(
    candidates: impl Iterator<Item = &'e Arc<Endpoint>> + Clone,
    count: usize,
) -> Option<&'e Arc<Endpoint>> {
    if count < 2 {
        return candidates.into_iter().next();
    }
    let one = fastrand::usize(..count);
    let other = (one + fastrand::usize(1..count)) % count;
    let (one, other) = (candidates.clone().nth(one)?, candidates.clone().nth(other)?);
    Some(if other.pressure_is_less_than(one) {
        other
    } else {
        one
    })
}

impl Endpoint {
    /// Connections from this sidecar that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.load.open.load(Ordering::Relaxed)
    }

    /// Connections from this sidecar so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.load.opened.load(Ordering::Relaxed)
    }

    /// Connects that failed so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.load.failed.load(Ordering::Relaxed)
    }

    /// Compares open connections for each unit of weight, counting the one to come.
    fn pressure_is_less_than(&self, other: &Endpoint) -> bool {
        let pressure = |endpoint: &Endpoint, weight_of_other: u32| {
            (endpoint.open() as u64 + 1) * u64::from(weight_of_other)
        };
        pressure(self, other.weight) < pressure(other, self.weight)
    }
}

impl PartialEq for Endpoint {
    /// Equal for the catalog: what this sidecar did with them doesn't count.
    fn eq(&self, other: &Self) -> bool {
        let key = |e: &Self| {
            (
                e.addr,
                e.ready,
                e.serving,
                e.terminating,
                e.weight,
                e.meshed,
            )
        };
        key(self) == key(other)
            && self.node == other.node
            && self.zone == other.zone
            && self.pod == other.pod
    }
}

impl Load {
    fn is_avoided(&self, now: Instant) -> bool {
        self.avoid_until.lock().is_some_and(|until| now < until)
    }
}

impl Chosen {
    fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.load.open.fetch_add(1, Ordering::Relaxed);
        Self { endpoint }
    }

    /// Where to connect to.
    #[must_use]
    pub fn addr(&self) -> EndpointAddr {
        self.endpoint.addr
    }

    /// The connect succeeded.
    pub fn connected(&self) {
        self.endpoint.load.opened.fetch_add(1, Ordering::Relaxed);
        *self.endpoint.load.avoid_until.lock() = None;
    }

    /// The connect failed.
    pub fn failed(&self, now: Instant) {
        self.endpoint.load.failed.fetch_add(1, Ordering::Relaxed);
        *self.endpoint.load.avoid_until.lock() = Some(now + AVOID_AFTER_FAILURE);
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.endpoint.load.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
