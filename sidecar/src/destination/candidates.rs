//! Which of a destination's endpoints may be chosen, and the choice among them.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Destination, Endpoint, Shared,
    closeness::{Place, Rule},
};
use crate::{
    addr::EndpointAddr,
    balance::{Unit, two_choices, two_of},
    ejection::may_eject_one_more,
    policy::Policy,
};

/// How often two random endpoints are looked at before all are.
const QUICK_TRIES: usize = 3;
/// The preferred endpoints serve all connections as long as so many times the ready
/// ones are at least all of them: up to two sevenths may be out. It is the factor
/// that Envoy calls overprovisioning.
const SPARE: f64 = 1.4;
/// A preferred endpoint that is so many times as loaded as another one is left for it,
const OVERFLOW_LOAD: f64 = 8.0;
/// if it is also so many times as slow, as far as that is known.
const OVERFLOW_SLOWNESS: f64 = 2.0;

/// The endpoints that connections and requests may go to now.
#[derive(Debug)]
pub(super) struct Candidates {
    pub(super) policy: Policy,
    pub(super) shared: Arc<Shared>,
    all: Vec<Arc<Endpoint>>,
    near: Option<Near>,
}

/// How an endpoint stands to those that may be chosen, whether or not it is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is none of them.
    Unused,
    /// It is one of them.
    Used,
    /// It is one, and others are not chosen as long as enough like it are well.
    Preferred,
}

impl Standing {
    /// As in `/config`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Unused => "unused",
            Standing::Used => "used",
            Standing::Preferred => "preferred",
        }
    }
}

/// Those that are preferred, if some are and others aren't.
#[derive(Debug)]
struct Near {
    endpoints: Vec<Arc<Endpoint>>,
    /// The share of choices that is made among them alone.
    share: f64,
}

impl Candidates {
    pub(super) fn none(policy: Policy, shared: Arc<Shared>) -> Self {
        Self {
            policy,
            shared,
            all: Vec::new(),
            near: None,
        }
    }

    /// Sorts out which endpoints may be chosen: those that are ready; if none is,
    /// those that serve while they terminate, as kube-proxy does (KEP-1669).
    pub(super) fn of(destination: &Destination, policy: Policy, own: &Place) -> Self {
        let reachable = |endpoint: &&Arc<Endpoint>| {
            !destination.node_local || (!own.node.is_empty() && endpoint.node == own.node)
        };
        let those = |usable: fn(&Endpoint) -> bool| -> Vec<Arc<Endpoint>> {
            let endpoints = destination.endpoints.iter().filter(reachable);
            endpoints.filter(|e| usable(e)).cloned().collect()
        };
        let mut all = those(Endpoint::is_wanted);
        if all.is_empty() {
            all = those(|endpoint| endpoint.serving && endpoint.terminating);
        }
        let near = Near::of(destination, &all, own);
        let shared = Arc::clone(&destination.shared);
        Self {
            policy,
            shared,
            all,
            near,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn find(&self, addr: EndpointAddr) -> Option<&Arc<Endpoint>> {
        let at = self
            .all
            .binary_search_by_key(&addr, |endpoint| endpoint.addr);
        at.ok().map(|at| &self.all[at])
    }

    pub(super) fn standing(&self, addr: EndpointAddr) -> Standing {
        let near = self.near.iter().flat_map(|near| &near.endpoints);
        match self.find(addr) {
            None => Standing::Unused,
            Some(_) if near.into_iter().any(|one| one.addr == addr) => Standing::Preferred,
            Some(_) => Standing::Used,
        }
    }

    pub(super) fn pick(
        &self,
        unit: Unit,
        without: &[EndpointAddr],
        now: Instant,
    ) -> Option<&Arc<Endpoint>> {
        let well =
            |endpoint: &Endpoint| !without.contains(&endpoint.addr) && !endpoint.record.is_out(now);
        if let Some(near) = &self.near
            && fastrand::f64() < near.share
            && let Some(nearby) = less_loaded(&near.endpoints, well, unit, now)
        {
            let Some(any) = less_loaded(&self.all, well, unit, now) else {
                return Some(nearby);
            };
            let (load, others) = (nearby.load(unit, now), any.load(unit, now));
            let overflows = load.relative_to(&others, unit) > OVERFLOW_LOAD
                && (load.seconds.and(others.seconds).is_none()
                    || load.slowness_relative_to(&others, unit) >= OVERFLOW_SLOWNESS);
            return Some(if overflows { any } else { nearby });
        }
        // If all are out, any may have recovered.
        less_loaded(&self.all, well, unit, now)
            .or_else(|| less_loaded(&self.all, |e| !without.contains(&e.addr), unit, now))
    }

    /// Whether an endpoint fails far more often than the others.
    pub(super) fn stands_out(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let Some(gap) = self.policy.eject_gap else {
            return false;
        };
        let own = endpoint.record.rate(now);
        if !own.is_enough() {
            return false;
        }
        let others = self.all.iter().filter(|other| other.addr != endpoint.addr);
        let others = others.map(|other| other.record.rate(now)).sum();
        own.is_worse_than(&others, gap)
    }

    /// Whether one more may be ejected.
    pub(super) fn may_eject(&self, now: Instant) -> bool {
        may_eject_one_more(self.ejected(now).count(), self.all.len())
    }

    /// Brings endpoints back, those first that would come back first, until half of
    /// them are in: others went since they were ejected.
    pub(super) fn readmit_surplus(&self, now: Instant) {
        let mut ejected: Vec<_> = self.ejected(now).collect();
        let surplus = ejected.len().saturating_sub(self.all.len() / 2);
        ejected.sort_by_key(|endpoint| endpoint.record.ejected_until(now));
        for endpoint in &ejected[..surplus] {
            endpoint.record.readmit(now);
        }
    }

    fn ejected(&self, now: Instant) -> impl Iterator<Item = &Arc<Endpoint>> {
        let out = move |e: &&Arc<Endpoint>| e.record.ejected_until(now).is_some();
        self.all.iter().filter(out)
    }
}

impl Near {
    /// The endpoints that the service's hints or its `trafficDistribution` prefer
    /// for this sidecar. On the same node counts for more than in the same zone.
    ///
    /// What they lack to serve all connections is those that aren't ready. Not those that
    /// terminate: they are replaced by others, or wanted no more.
    fn of(destination: &Destination, all: &[Arc<Endpoint>], own: &Place) -> Option<Self> {
        let rule = Rule::of(destination);
        let near = |endpoint: &Endpoint| rule.closeness(endpoint, own);
        let closest = all.iter().filter_map(|endpoint| near(endpoint)).max()?;
        let is_near = |endpoint: &&Arc<Endpoint>| near(endpoint) == Some(closest);
        let endpoints: Vec<_> = all.iter().filter(is_near).cloned().collect();
        let is_lost = |endpoint: &&Arc<Endpoint>| !endpoint.ready && !endpoint.terminating;
        let lost = destination.endpoints.iter().filter(is_near).filter(is_lost);
        let wanted = endpoints.len() + lost.count();
        let share = (endpoints.len() as f64 * SPARE / wanted as f64).min(1.0);
        (endpoints.len() < all.len()).then_some(Self { endpoints, share })
    }
}

/// Of two random endpoints that are well, the less loaded one.
fn less_loaded(
    endpoints: &[Arc<Endpoint>],
    well: impl Fn(&Endpoint) -> bool,
    unit: Unit,
    now: Instant,
) -> Option<&Arc<Endpoint>> {
    let relative = |one: &Arc<Endpoint>, other: &Arc<Endpoint>| {
        one.load(unit, now)
            .relative_to(&other.load(unit, now), unit)
    };
    if endpoints.len() > 1 {
        for _ in 0..QUICK_TRIES {
            let (one, other) = two_of(endpoints.len());
            let (one, other) = (&endpoints[one], &endpoints[other]);
            if well(one) && well(other) {
                return Some(if relative(other, one) < 1.0 {
                    other
                } else {
                    one
                });
            }
        }
    }
    let those = || endpoints.iter().filter(|endpoint| well(endpoint));
    two_choices(those(), those().count(), relative)
}
