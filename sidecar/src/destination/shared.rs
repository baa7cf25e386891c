//! What a destination keeps across its updates, beside its endpoints' records.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use netting_telemetry::{
    peer::Peer,
    traffic::{Traffic, TrafficMetrics},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Destination, Endpoint};
use crate::{
    addr::{EndpointAddr, OriginalDst},
    budget::Budget,
    reason::Reason,
};

#[derive(Debug)]
pub(super) struct Shared {
    budget: Budget,
    waiting: AtomicUsize,
    /// Where a service with session affinity keeps this pod, and since when that
    /// was last asked for.
    kept_at: Mutex<Option<(EndpointAddr, Instant)>>,
    /// The instruments for what goes there, once something does.
    traffic: OnceLock<Traffic>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            budget: Budget::new(Instant::now()),
            waiting: AtomicUsize::new(0),
            kept_at: Mutex::default(),
            traffic: OnceLock::new(),
        }
    }

    pub(super) fn kept_at(&self, affinity: Duration, now: Instant) -> Option<EndpointAddr> {
        let (addr, asked) = (*self.kept_at.lock())?;
        (now.saturating_duration_since(asked) < affinity).then_some(addr)
    }

    pub(super) fn keep_at(&self, addr: EndpointAddr, now: Instant) {
        *self.kept_at.lock() = Some((addr, now));
    }

    /// Counts an endpoint that is left out for a while.
    pub(super) fn ejected(&self, endpoint: &Endpoint, reason: Reason) {
        if let Some(traffic) = self.traffic.get() {
            endpoint.traffic(traffic).ejected(reason.as_str());
        }
    }
}

/// A request that waits for an answer, counted until this is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<Shared>);

impl Destination {
    /// Lets a request in; keep what is returned until its response's head is there.
    /// `None` if as many wait already as the service's policy allows: answer with
    /// 503 then.
    #[must_use]
    pub fn admit(&self) -> Option<Waiting> {
        let waiting = Waiting(Arc::clone(&self.shared));
        let others = self.shared.waiting.fetch_add(1, Relaxed);
        let max = self.policy().max_pending;
        let full = max.is_some_and(|max| others >= usize::try_from(max).unwrap_or(usize::MAX));
        (!full).then_some(waiting)
    }

    /// The instruments for what goes there, where the application calls it `dst`.
    #[must_use]
    pub fn traffic(&self, peers: &TrafficMetrics, dst: OriginalDst) -> Traffic {
        let peer = Peer {
            name: &self.name,
            namespace: &self.namespace,
            port: dst.0.port(),
        };
        self.shared.traffic.get_or_init(|| peers.to(peer)).clone()
    }

    /// How many requests wait for an answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Relaxed)
    }

    /// How many retries it may be sent.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
