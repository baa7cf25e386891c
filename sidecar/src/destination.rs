//! What the catalog said of one address, and the choice among its endpoints.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use netting_telemetry::{peer, traffic::Traffic};
use tokio::time::Instant;

use crate::{
    addr::EndpointAddr,
    balance::{Load, Unit},
    policy::Policy,
};

mod candidates;
mod chosen;
mod closeness;
mod record;
mod shared;
mod update;

use candidates::Candidates;
use record::Record;
use shared::Shared;

pub use candidates::Standing;
pub use chosen::{Chosen, InFlight};
pub use closeness::{Place, Prefer};
pub use shared::Waiting;
pub use update::BadUpdate;

/// One address's state, as of one message of the catalog. Never changed: an update
/// makes a new one, in which endpoints that stayed keep their records.
#[derive(Clone, Debug)]
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
    /// Which endpoints are preferred.
    pub prefer: Prefer,
    /// How long this pod is kept at one endpoint after it last went there, if the
    /// service wants that (`sessionAffinity: ClientIP`). All of the pod's traffic
    /// has one client IP, its own, so there is one endpoint to remember.
    pub affinity: Option<Duration>,
    /// All endpoints, ordered by address.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Hash of this state, as the catalog computes it.
    pub hash: Vec<u8>,
    /// Those of the endpoints that may be chosen now.
    candidates: Arc<Candidates>,
    shared: Arc<Shared>,
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
#[derive(Clone, Debug)]
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
    /// Nodes whose traffic is meant for it, if its slice says so.
    pub for_nodes: Vec<String>,
    /// Zones whose traffic is meant for it, if its slice says so.
    pub for_zones: Vec<String>,
    /// Pod behind it, as `namespace/name`; empty if not known.
    pub pod: String,
    /// Whether that pod has a Netting sidecar.
    pub meshed: bool,
    /// What that pod belongs to, if that is known.
    pub owner: Option<Owner>,
    record: Arc<Record>,
    /// The instruments for what goes to pods of that owner, once something does.
    traffic: OnceLock<Traffic>,
}

/// What a pod belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Destination {
    /// Chooses an endpoint: of two random ones, the less loaded. Ones that failed
    /// lately or are ejected are left out while there are others, and `without`,
    /// which were tried in vain, always. `None` if no (other) endpoint may be used.
    #[must_use]
    pub fn choose(&self, unit: Unit, without: &[EndpointAddr], now: Instant) -> Option<Chosen> {
        let among = &self.candidates;
        let chosen =
            |endpoint: &Arc<Endpoint>| Chosen::new(Arc::clone(endpoint), Arc::clone(among), unit);
        let Some(affinity) = self.affinity else {
            return among.pick(unit, without, now).map(chosen);
        };
        let kept_at = self.shared.kept_at(affinity, now);
        let kept_at = kept_at.filter(|addr| !without.contains(addr));
        let usable = |endpoint: &&Arc<Endpoint>| !endpoint.record.is_out(now);
        let kept = kept_at.and_then(|addr| among.find(addr)).filter(usable);
        let endpoint = kept.or_else(|| among.pick(unit, without, now))?;
        self.shared.keep_at(endpoint.addr, now);
        Some(chosen(endpoint))
    }

    /// Whether there is an endpoint that may be used.
    #[must_use]
    pub fn has_endpoints(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// Whether the endpoint at this address may be chosen, and is preferred.
    #[must_use]
    pub fn standing(&self, addr: EndpointAddr) -> Standing {
        self.candidates.standing(addr)
    }

    /// How the service wants to be treated.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.candidates.policy
    }

    /// The same, as seen from somewhere else.
    #[must_use]
    pub fn seen_from(mut self, own: &Place) -> Self {
        let policy = self.policy().clone();
        self.candidates = Arc::new(Candidates::of(&self, policy, own));
        self
    }

    /// This state takes the place of another: endpoints that are gone are marked as
    /// such, those that have become ready are ejected no longer, and at least half of
    /// those that are left may be chosen.
    pub fn replace(&self, before: &Destination, now: Instant) {
        for endpoint in &before.endpoints {
            match self.endpoint_at(endpoint.addr) {
                None => endpoint.record.remove(),
                // Its probe says that it is another now than the one that failed.
                Some(after) if after.is_wanted() && !endpoint.is_wanted() => {
                    after.record.readmit(now);
                }
                Some(_) => {}
            }
        }
        self.candidates.readmit_surplus(now);
    }

    /// It is not what the address stands for any more.
    pub fn retire(&self) {
        for endpoint in &self.endpoints {
            endpoint.record.remove();
        }
    }

    fn endpoint_at(&self, addr: EndpointAddr) -> Option<&Arc<Endpoint>> {
        let by_addr = |endpoint: &Arc<Endpoint>| endpoint.addr;
        let at = self.endpoints.binary_search_by_key(&addr, by_addr);
        at.ok().map(|at| &self.endpoints[at])
    }
}

impl Endpoint {
    /// Whether the catalog still names it, ready or not. Nothing new goes to one
    /// that isn't: drop idle connections to it.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.record.is_gone()
    }

    /// Whether it is to be sent what is new, as far as the catalog knows.
    fn is_wanted(&self) -> bool {
        self.ready && !self.terminating
    }

    /// The instruments for what goes there, of all that goes to its service.
    #[must_use]
    pub(crate) fn traffic<'t>(&'t self, all: &'t Traffic) -> &'t Traffic {
        let Some(Owner { kind, name }) = &self.owner else {
            return all;
        };
        self.traffic
            .get_or_init(|| all.at(peer::Owner { kind, name }))
    }

    /// The same endpoint of something else, which has instruments of its own.
    fn of_another(&self) -> Self {
        Self {
            traffic: OnceLock::new(),
            ..self.clone()
        }
    }

    /// Connections from this sidecar that are being relayed.
    #[must_use]
    pub fn open(&self) -> usize {
        let pending = self.record.pending.load(Relaxed);
        pending.saturating_sub(self.requests())
    }

    /// Requests from this sidecar that have not ended.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.record.requests.load(Relaxed)
    }

    /// Connections from this sidecar so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.record.opened.load(Relaxed)
    }

    /// Requests that were sent to it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.record.sent.load(Relaxed)
    }

    /// Connects that failed so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.record.failed.load(Relaxed)
    }

    /// How loaded it is, as far as this sidecar knows.
    #[must_use]
    pub fn load(&self, unit: Unit, now: Instant) -> Load {
        Load {
            seconds: self.record.seconds(unit, now),
            pending: self.record.pending.load(Relaxed),
            weight: self.weight,
        }
    }

    /// Until when it is ejected, if it is.
    #[must_use]
    pub fn ejected_until(&self, now: Instant) -> Option<Instant> {
        self.record.ejected_until(now)
    }
}

#[cfg(test)]
mod tests;
