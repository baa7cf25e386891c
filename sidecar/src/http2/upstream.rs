//! An upstream connection for one request.

use std::{future::Future, net::SocketAddr, rc::Rc, sync::Arc};

use tokio::time::{Instant, timeout_at};

use super::{
    pool::{Hold, Place},
    session::{Session, Target},
};
use crate::{
    addr::EndpointAddr,
    connect::Upstream,
    destination::{Chosen, Endpoint, InFlight},
    ejection::Outcome,
    reason::Reason,
};

/// The one that the request goes over.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) hold: Hold,
    pub(super) addr: SocketAddr,
    /// Notes at its endpoint what comes of the request.
    in_flight: Option<InFlight>,
}

/// There is none: nothing was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unconnected {
    pub(super) addr: SocketAddr,
    pub(super) reason: Reason,
}

impl Session {
    /// Takes a connection to the endpoint that was chosen, or to where the client was
    /// going; until then at most.
    pub(super) async fn take(
        &self,
        chosen: Option<Chosen>,
        until: Option<Instant>,
    ) -> Result<Taken, Unconnected> {
        let (place, addr) = match (&chosen, &self.target) {
            (Some(chosen), _) => (self.proxy.http2.pool.at(chosen.endpoint()), chosen.addr().0),
            (None, Target::Fixed(place) | Target::Undecided(_, place)) => {
                (Rc::clone(place), self.dst.0)
            }
            // Its last endpoint has gone: the destination says so in its own way.
            (None, Target::Balanced(_)) => (Rc::default(), self.dst.0),
        };
        let full = || self.proxy.metrics.reached(Reason::UpstreamFull.as_str());
        if let Some(hold) = place.take(full) {
            return Ok(Taken::new(hold, addr, chosen));
        }
        let unconnected = |reason| Unconnected { addr, reason };
        let begun = Instant::now();
        let alone = within(until, place.connecting.lock()).await;
        let _alone = alone.ok_or_else(|| unconnected(Reason::ConnectTimeout))?;
        if let Some(hold) = place.take(full) {
            return Ok(Taken::new(hold, addr, chosen));
        }
        // What another stream has just tried in vain needs no second try: many may
        // have waited for it, and would wait for each other.
        if let Some(reason) = place.failed_since(begun) {
            return Err(unconnected(reason));
        }
        let connector = &self.proxy.connector;
        let connected = match chosen {
            Some(chosen) => connector.one(chosen, until).await,
            None => connector.original(self.dst).await,
        };
        match connected {
            Ok(upstream) => self.share(&place, upstream).await,
            Err(error) => {
                let (client, dst, cause) = (self.client, self.dst, &error.source);
                tracing::debug!(%client, %dst, %error, %cause, "no upstream for a stream");
                // Others may have more time.
                if until.is_none() || error.reason != Reason::ConnectTimeout {
                    place.failed(error.reason);
                }
                Err(unconnected(error.reason))
            }
        }
    }

    /// Makes room in the pool for a connection that streams of all clients share, as they
    /// do if it was `chosen`.
    pub(super) fn make_room(&self, chosen: Option<&Chosen>) {
        if chosen.is_none() {
            return;
        }
        if self.proxy.http2.pool.make_room() {
            self.proxy.metrics.reached(Reason::PoolFull.as_str());
        }
    }

    /// Counts a connection.
    pub(super) fn connected(&self, upstream: &Upstream) {
        let retried = upstream.retried.map(Reason::as_str);
        let endpoint = upstream.chosen.as_ref().map(Chosen::endpoint);
        let traffic = endpoint.map_or(self.traffic(), |at| at.traffic(self.traffic()));
        traffic.connected(upstream.took, retried);
    }

    async fn share(&self, place: &Place, upstream: Upstream) -> Result<Taken, Unconnected> {
        self.connected(&upstream);
        let (addr, chosen) = (upstream.addr, upstream.chosen);
        self.make_room(chosen.as_ref());
        let limits = self.proxy.http2.pool.limits();
        match place.add((upstream.stream, 0), limits).await {
            Ok(hold) => Ok(Taken::new(hold, addr, chosen)),
            Err(_) => {
                if let Some(chosen) = chosen {
                    chosen.failed(Instant::now());
                }
                let reason = Reason::UpstreamClosed;
                Err(Unconnected { addr, reason })
            }
        }
    }
}

impl Taken {
    fn new(hold: Hold, addr: SocketAddr, chosen: Option<Chosen>) -> Self {
        Self {
            hold,
            addr,
            in_flight: chosen.map(|chosen| chosen.begin(Instant::now())),
        }
    }

    pub(super) fn endpoint(&self) -> EndpointAddr {
        EndpointAddr(self.addr)
    }

    /// What was chosen, if anything was.
    pub(super) fn chosen(&self) -> Option<&Arc<Endpoint>> {
        self.in_flight.as_ref().map(InFlight::endpoint)
    }

    /// Whether what was chosen is still there, if anything was.
    pub(super) fn is_current(&self) -> bool {
        self.chosen().is_none_or(|at| at.is_current())
    }

    /// Whether a sidecar is there.
    pub(super) fn is_meshed(&self) -> bool {
        self.chosen().is_some_and(|at| at.meshed)
    }

    /// What came of the request.
    pub(super) fn record(&mut self, outcome: Outcome) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.record(outcome, Instant::now());
        }
    }
}

/// Waits until then at most.
pub(super) async fn within<T>(
    until: Option<Instant>,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    match until {
        Some(until) => timeout_at(until, awaited).await.ok(),
        None => Some(awaited.await),
    }
}
