//! An upstream connection for one request.

use std::net::SocketAddr;

use netting_telemetry::traffic::Traffic;
use tokio::time::Instant;

use super::{session::Session, side::Side};
use crate::{
    connect::{ConnectError, Upstream},
    destination::{Chosen, InFlight},
    policy::Tries,
    reason::Reason,
};

/// The one that the request goes over.
pub(super) struct Taken {
    pub(super) side: Side,
    pub(super) addr: SocketAddr,
    /// It has been open for a while, and may have been closed meanwhile.
    pub(super) is_old: bool,
    /// So many bytes of the request have been sent.
    pub(super) has: usize,
    /// Notes at its endpoint what comes of the request.
    pub(super) in_flight: Option<InFlight>,
}

impl Session<'_> {
    /// Takes a connection to the endpoint that is chosen for the next try, or to where
    /// the client was going; until then at most.
    pub(super) async fn take(
        &mut self,
        tries: &mut Tries,
        fresh: bool,
        until: Option<Instant>,
    ) -> Result<Taken, ConnectError> {
        if let Some(begun) = self.begun.take() {
            return Ok(*begun);
        }
        loop {
            let Some(chosen) = tries.choose(Instant::now()) else {
                // Nothing to choose from, or a service whose last endpoint has gone.
                return self.own_upstream().await;
            };
            // It was for as long as there was nothing to choose from.
            if let Some(mut own) = self.upstream.take() {
                own.stream.finish();
            }
            let pool = &self.proxy.http1.pool;
            let addr = chosen.addr();
            let pooled = if fresh { None } else { pool.take(addr) };
            if let Some(side) = pooled {
                return Ok(Taken {
                    side,
                    addr: addr.0,
                    is_old: true,
                    has: 0,
                    in_flight: Some(chosen.begin(Instant::now())),
                });
            }
            // Rare, and large: no request has to hold the memory for it.
            let upstream = Box::pin(self.proxy.connector.one(chosen, until)).await?;
            if upstream.is_current() || !tries.chooses_anew(self.target.current()) {
                return Ok(self.taken(upstream));
            }
        }
    }

    /// Takes the client's own connection to where it was going.
    pub(super) async fn own_upstream(&mut self) -> Result<Taken, ConnectError> {
        if let Some(mut side) = self.upstream.take() {
            if side.is_silent() {
                return Ok(Taken {
                    side,
                    addr: self.dst.0,
                    is_old: true,
                    has: 0,
                    in_flight: None,
                });
            }
            side.stream.finish();
        }
        let upstream = Box::pin(self.proxy.connector.original(self.dst)).await?;
        Ok(self.taken(upstream))
    }

    pub(super) fn taken(&self, upstream: Upstream) -> Taken {
        let addr = upstream.addr;
        let (side, chosen) = self.side(upstream);
        Taken {
            side,
            addr,
            is_old: false,
            has: 0,
            in_flight: chosen.map(|chosen| chosen.begin(Instant::now())),
        }
    }

    pub(super) fn side(&self, upstream: Upstream) -> (Side, Option<Chosen>) {
        let retried = upstream.retried.map(Reason::as_str);
        let endpoint = upstream.chosen.as_ref().map(Chosen::endpoint);
        let traffic = endpoint.map_or(&self.traffic, |at| at.traffic(&self.traffic));
        traffic.connected(upstream.took, retried);
        (Side::new(upstream.stream), upstream.chosen)
    }
}

impl Taken {
    /// The instruments for what goes over it, of all that goes to its service.
    pub(super) fn traffic<'t>(&'t self, all: &'t Traffic) -> &'t Traffic {
        let in_flight = self.in_flight.as_ref();
        in_flight.map_or(all, |at| at.traffic(all))
    }

    /// The same, a while after so much of the request was sent.
    pub(super) fn having(self, has: usize) -> Self {
        Self {
            is_old: true,
            has,
            ..self
        }
    }
}
