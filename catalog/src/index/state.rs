//! The state of one address, and its content hash.

use std::{fmt, net::IpAddr, net::SocketAddr, sync::Arc};

use xxhash_rust::xxh3::Xxh3;

use crate::objects::{Hints, Policy, Traffic, pod::Owner};

/// Begins each hashed encoding, so that a later one can differ from it.
const ENCODING: u8 = 3;

/// What is behind an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// What the address belongs to.
    pub destination: Destination,
    /// Where connections to it may go, ordered by address, each once.
    pub endpoints: Vec<Endpoint>,
    /// Of all the above: equal for equal content, on every replica.
    pub hash: Hash,
}

/// What an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// A service's address, or one workload's.
    pub kind: Kind,
    /// Namespace of the service or pod.
    pub namespace: Arc<str>,
    /// Name of the service or pod.
    pub name: Arc<str>,
    /// Name of the service's port; empty if it has none.
    pub port_name: Arc<str>,
    /// The protocol that Kubernetes objects name; empty if none.
    pub protocol_hint: Arc<str>,
    /// Connections stay on the node that they come from.
    pub node_local: bool,
    /// How its traffic is spread and treated.
    pub traffic: Arc<Traffic>,
}

/// What kind of thing an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service's port at its cluster IP.
    Service,
    /// A pod's own IP; the only endpoint is that address itself.
    Workload,
}

/// One ip:port behind an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Ready to be sent connections.
    pub ready: bool,
    /// Able to serve, whether or not it is terminating.
    pub serving: bool,
    /// Shutting down.
    pub terminating: bool,
    /// Share of new connections, relative to the other endpoints; at least 1.
    pub weight: u32,
    /// Its node; empty if not known.
    pub node: Arc<str>,
    /// Its zone; empty if not known.
    pub zone: Arc<str>,
    /// Whose traffic is meant for it, if that is said.
    pub hints: Option<Arc<Hints>>,
    /// The pod behind it, if one is known.
    pub workload: Option<Workload>,
}

/// The pod behind an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub pod: Arc<str>,
    /// Its service account; empty if not known, which it is for meshed pods alone.
    pub service_account: Arc<str>,
    /// It carries a Netting sidecar.
    pub meshed: bool,
    /// What it belongs to; empty if not known, which it is for meshed pods alone.
    pub owner: Owner,
}

/// Content hash of a state: xxh3 with 128 bits. No defence against somebody who
/// looks for collisions, and needn't be: content comes from the API server.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 16]);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl State {
    /// A state of endpoints in any order. Where several have the same address, the
    /// readiest of them counts: a pod that moves between slices is in both for a
    /// while, and the stale one is the one that is not ready. If that is several pods,
    /// which only those in their node's network can be, the endpoint is none of them.
    #[must_use]
    pub fn new(destination: Destination, mut endpoints: Vec<Endpoint>) -> Self {
        endpoints.sort_unstable_by(|a, b| {
            let by_address = a.addr.cmp(&b.addr);
            by_address.then_with(|| b.precedence().cmp(&a.precedence()))
        });
        endpoints.dedup_by(|next, kept| {
            if next.addr != kept.addr {
                return false;
            }
            if next.liveness() == kept.liveness() && next.is_another_pod_than(kept) {
                kept.workload = None;
            }
            true
        });
        let hash = hash(&destination, &endpoints);
        Self {
            destination,
            endpoints,
            hash,
        }
    }
}

impl Endpoint {
    /// Total over all fields but the address, so that which of several wins
    /// doesn't depend on their order.
    fn precedence(&self) -> impl Ord + '_ {
        let known = (&self.workload, &self.node, &self.zone, &self.hints);
        (self.liveness(), known, self.weight)
    }

    fn liveness(&self) -> impl Ord + use<> {
        (self.ready, self.serving, !self.terminating)
    }

    fn is_another_pod_than(&self, other: &Self) -> bool {
        let name = |workload: &Workload| (workload.namespace.clone(), workload.pod.clone());
        let both = self.workload.as_ref().zip(other.workload.as_ref());
        both.is_some_and(|(one, other)| name(one) != name(other))
    }
}

fn hash(destination: &Destination, endpoints: &[Endpoint]) -> Hash {
    let mut hash = Canonical(Xxh3::new());
    hash.byte(ENCODING);
    hash.byte(destination.kind as u8);
    hash.text(&destination.namespace);
    hash.text(&destination.name);
    hash.text(&destination.port_name);
    hash.text(&destination.protocol_hint);
    hash.byte(destination.node_local.into());
    hash.traffic(&destination.traffic);
    for endpoint in endpoints {
        hash.address(endpoint.addr);
        let flags = [endpoint.ready, endpoint.serving, endpoint.terminating];
        hash.0.update(&flags.map(u8::from));
        hash.0.update(&endpoint.weight.to_be_bytes());
        hash.text(&endpoint.node);
        hash.text(&endpoint.zone);
        let hints = endpoint.hints.as_deref();
        hash.names(hints.map_or(&[], |hints| &hints.zones));
        hash.names(hints.map_or(&[], |hints| &hints.nodes));
        hash.byte(endpoint.workload.is_some().into());
        if let Some(workload) = &endpoint.workload {
            hash.text(&workload.namespace);
            hash.text(&workload.pod);
            hash.text(&workload.service_account);
            hash.byte(workload.meshed.into());
            hash.text(&workload.owner.kind);
            hash.text(&workload.owner.name);
        }
    }
    Hash(hash.0.digest128().to_be_bytes())
}

/// An encoding that no two contents share: each field that varies in length
/// says how long it is.
struct Canonical(Xxh3);

impl Canonical {
    fn byte(&mut self, byte: u8) {
        self.0.update(&[byte]);
    }

    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn names(&mut self, names: &[Arc<str>]) {
        self.number(names.len() as u64);
        for name in names {
            self.text(name);
        }
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn option(&mut self, number: Option<u64>) {
        self.byte(number.is_some().into());
        self.number(number.unwrap_or_default());
    }

    fn traffic(&mut self, traffic: &Traffic) {
        self.byte(traffic.distribution as u8);
        self.number(traffic.session_affinity_seconds.into());
        let Policy {
            timeout,
            per_try_timeout,
            retries,
            retry_on,
            max_pending,
            eject_after,
            eject_gap,
            eject_for,
        } = &traffic.policy;
        for duration in [timeout, per_try_timeout, eject_for] {
            self.option(duration.map(|duration| duration.as_millis() as u64));
        }
        for number in [retries, max_pending, eject_after, eject_gap] {
            self.option(number.map(u64::from));
        }
        self.byte(retry_on.is_some().into());
        if let Some(retry_on) = retry_on {
            self.byte(retry_on.reset.into());
            self.number(retry_on.statuses.len() as u64);
            for status in &retry_on.statuses {
                self.number((*status).into());
            }
            self.number(retry_on.grpc_codes.len() as u64);
            for code in &retry_on.grpc_codes {
                self.number((*code).into());
            }
        }
    }

    fn address(&mut self, addr: SocketAddr) {
        match addr.ip() {
            IpAddr::V4(ip) => {
                self.byte(4);
                self.0.update(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.byte(6);
                self.0.update(&ip.octets());
            }
        }
        self.0.update(&addr.port().to_be_bytes());
    }
}
