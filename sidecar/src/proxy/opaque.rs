//! Connections that are relayed as they are.

use std::{
    cell::Cell,
    future::{Future as _, poll_fn},
    mem,
    net::SocketAddr,
    pin::pin,
    task::Poll,
    time::{Duration, SystemTime},
};

use netting_telemetry::{
    access_log::{Entry, Kind},
    traffic::Traffic,
};
use tokio::{net::TcpStream, time::Instant};

use super::{Accepted, Proxy, Rest};
use crate::{
    addr::{ClientAddr, OriginalDst},
    connect::{Upstream, is_at_once},
    destination::Chosen,
    detect::Protocol,
    ejection::Outcome,
    http::idle::{Waiter, WaitsFor},
    protocol::Begun,
    reason::Reason,
    relay::{Count, relay},
    stream::{Unfinished, finish_but_the_other, write_all},
};

/// How a connection ended that was relayed as it is.
struct Ended {
    client: ClientAddr,
    dst: OriginalDst,
    upstream: SocketAddr,
    lasted: Duration,
    reason: Reason,
}

impl Proxy {
    /// Relays until the end of the connection, and knows nothing of what it carries.
    /// If one side breaks off, the other side sees a reset too. What is `held` lasts as
    /// long.
    pub(super) fn opaque<'p>(
        &'p self,
        accepted: Accepted,
        (upstream, begun): (Upstream, Begun),
        protocol: Protocol,
        held: impl Sized + 'p,
    ) -> Rest<'p> {
        let endpoint = upstream.chosen.as_ref().map(Chosen::endpoint);
        let traffic = match endpoint {
            Some(endpoint) => endpoint.traffic(&accepted.traffic).clone(),
            None => accepted.traffic,
        };
        traffic.connected(upstream.took, upstream.retried.map(Reason::as_str));
        let addr = upstream.addr;
        let mut trial = Trial {
            endpoint: upstream.chosen,
            since: upstream.since,
        };
        let mut downstream = Unfinished::new(accepted.downstream);
        let mut upstream = Unfinished::new(upstream.stream);
        let (client, dst, since) = (accepted.client, accepted.dst, accepted.since);
        Box::pin(async move {
            let counted = Counted::new(&traffic);
            counted.sent(begun.bytes().len() as u64);
            let passed_on = write_all(&upstream, begun.rest()).await;
            drop(begun);
            let reason = match passed_on {
                Ok(()) => {
                    let waiter = self.http1.waiters.join();
                    waiter.waits_for(WaitsFor::Request);
                    let sides = (&*downstream, &*upstream);
                    let is_unused = || {
                        trial.look(&counted, None);
                        counted.is_unused()
                    };
                    relay_while_there(sides, &counted, &waiter, is_unused).await
                }
                Err(_) => Reason::UpstreamReset,
            };
            trial.look(&counted, Some(reason));
            finish_but_the_other(reason, &mut downstream, &mut upstream);
            traffic.closed(reason.as_str());
            tracing::debug!(%client, upstream = %addr, %reason, "connection ended");
            let ended = Ended {
                client,
                dst,
                upstream: addr,
                lasted: since.elapsed(),
                reason,
            };
            self.tell_of_connection(&ended, &protocol, &counted);
            drop((trial, held));
        })
    }

    /// Tells of a connection that has ended, if it is wanted. That it lasted long is
    /// nothing bad.
    fn tell_of_connection(&self, ended: &Ended, protocol: &Protocol, counted: &Counted<'_>) {
        use Reason::{Draining, Finished, IdleTimeout};
        let failed = !matches!(ended.reason, Finished | Draining | IdleTimeout);
        if !self.access_log.wants(failed, Duration::ZERO) {
            return;
        }
        self.access_log.write(&Entry {
            kind: Kind::Connection,
            at: SystemTime::now(),
            direction: self.direction,
            client: ended.client.0,
            dst: ended.dst.0,
            upstream: Some(ended.upstream),
            protocol: protocol.as_str(),
            sni: match protocol {
                Protocol::Tls(name) => name.as_deref(),
                _ => None,
            },
            method: None,
            path: None,
            authority: None,
            user_agent: None,
            status: None,
            grpc_status: None,
            sent: counted.sent.get(),
            received: counted.received.get(),
            took: ended.lasted,
            resent: 0,
            reason: Some(ended.reason.as_str()),
            failed,
            trace: None,
            sampled: false,
        });
    }
}

/// Relays until both sides are finished or one breaks off, as [`relay`] does, or has
/// vanished; or until there is nothing to wait for on a connection that is unused yet, as
/// it is asked whenever something happens. Nothing is lost with that.
pub(crate) async fn relay_while_there(
    sides: (&TcpStream, &TcpStream),
    counted: &Counted<'_>,
    waiter: &Waiter,
    mut is_unused: impl FnMut() -> bool,
) -> Reason {
    let mut relayed = pin!(relay(sides.0, sides.1, counted));
    let mut is_used = false;
    poll_fn(|cx| {
        if let Poll::Ready(reason) = relayed.as_mut().poll(cx) {
            return Poll::Ready(reason);
        }
        if is_unused() {
            return waiter.poll_over(cx);
        }
        if !mem::replace(&mut is_used, true) {
            waiter.waits_for(WaitsFor::Sides);
        }
        waiter.poll_vanished(cx, sides)
    })
    .await
}

/// What a connection shows of the endpoint that it goes to, of which it counts as one as
/// long as it lasts.
struct Trial {
    endpoint: Option<Chosen>,
    since: Instant,
}

impl Trial {
    /// Looks at what has passed, and how the connection `ended` if it has.
    fn look(&mut self, counted: &Counted<'_>, ended: Option<Reason>) {
        let endpoint = self.endpoint.as_mut().filter(|at| !at.has_shown());
        let Some(endpoint) = endpoint else {
            return;
        };
        let (asked, answered) = (counted.sent.get() > 0, counted.received.get() > 0);
        let hung_up = counted.first_end.get() == Some(End::Upstream);
        let since = self.since;
        let is_at_once = || is_at_once(since, Instant::now());
        let outcome = match ended {
            _ if answered => Outcome::Success,
            Some(Reason::UpstreamReset) if is_at_once() => Outcome::Reset,
            _ if hung_up && asked && is_at_once() => Outcome::Reset,
            // Not all that is sent is to be answered.
            Some(Reason::Finished) if asked && !hung_up => Outcome::Success,
            _ => return,
        };
        endpoint.showed(outcome, Instant::now());
    }
}

/// A side that has said all that it had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Downstream,
    Upstream,
}

/// Counts bytes in the instruments, and for one connection.
pub(crate) struct Counted<'m> {
    traffic: &'m Traffic,
    sent: Cell<u64>,
    received: Cell<u64>,
    first_end: Cell<Option<End>>,
}

impl<'m> Counted<'m> {
    pub(crate) fn new(traffic: &'m Traffic) -> Self {
        Self {
            traffic,
            sent: Cell::new(0),
            received: Cell::new(0),
            first_end: Cell::new(None),
        }
    }

    /// Whether nothing has passed either way, not even an end.
    fn is_unused(&self) -> bool {
        self.sent.get() == 0 && self.received.get() == 0 && self.first_end.get().is_none()
    }
}

impl Count for Counted<'_> {
    fn sent(&self, bytes: u64) {
        self.traffic.sent(bytes);
        self.sent.set(self.sent.get() + bytes);
    }

    fn received(&self, bytes: u64) {
        self.traffic.received(bytes);
        self.received.set(self.received.get() + bytes);
    }

    fn sent_all(&self) {
        self.first_end
            .set(self.first_end.get().or(Some(End::Downstream)));
    }

    fn received_all(&self) {
        self.first_end
            .set(self.first_end.get().or(Some(End::Upstream)));
    }
}
