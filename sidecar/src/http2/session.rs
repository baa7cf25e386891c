//! One downstream connection.

use std::{
    cell::{Cell, OnceCell},
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason as Code, server::Connection};
use netting_telemetry::traffic::Traffic;
use tokio::{net::TcpStream, task::spawn_local, time::timeout};

use super::{
    pool::{Place, Pool},
    stream::Stream,
    wire::{Gathered, Wire, gather_behind},
};
use crate::{
    addr::{ClientAddr, OriginalDst},
    connect::Upstream,
    destination::Destination,
    http::idle::{Waiter, Waiters, WaitsFor},
    protocol::Begun,
    proxy::Proxy,
    reason::Reason,
    view::InUse,
};

/// How long the preface may take, once it has begun.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the HTTP/2 connections of one direction share on one thread.
#[derive(Clone, Debug)]
pub(crate) struct Http2 {
    pub(crate) pool: Rc<Pool>,
    pub(crate) waiters: Rc<Waiters>,
}

/// Where the streams of a connection go.
#[derive(Debug)]
pub(crate) enum Target {
    /// Each to an endpoint that is chosen for it.
    Balanced(InUse),
    /// As if it were fixed, until it is known what there is to choose from.
    Undecided(InUse, Rc<Place>),
    /// All to the original destination, over connections that are the client's own.
    Fixed(Rc<Place>),
}

/// What the streams of a connection share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) proxy: Proxy,
    pub(super) target: Target,
    pub(super) client: ClientAddr,
    pub(super) dst: OriginalDst,
    /// The instruments for where it goes, once that is known.
    traffic: OnceCell<Traffic>,
    streams: Cell<usize>,
    /// It has had a stream.
    is_used: Cell<bool>,
    waiter: Waiter,
}

/// Keeps the session from being idle.
pub(super) struct Busy(Rc<Session>);

impl Session {
    pub(crate) fn new(
        proxy: Proxy,
        target: Target,
        (client, dst, traffic): (ClientAddr, OriginalDst, Traffic),
    ) -> Rc<Self> {
        let waiter = proxy.http2.waiters.join();
        let traffic = match target {
            Target::Undecided(..) => OnceCell::new(),
            Target::Balanced(_) | Target::Fixed(_) => OnceCell::from(traffic),
        };
        Rc::new(Self {
            proxy,
            target,
            client,
            dst,
            traffic,
            streams: Cell::new(0),
            is_used: Cell::new(false),
            waiter,
        })
    }

    /// Makes use of an upstream that is connected already, and has been sent so much of
    /// the preface.
    pub(crate) async fn adopt(&self, upstream: Upstream, has: usize) {
        self.connected(&upstream);
        let pool = &self.proxy.http2.pool;
        let place = match (&self.target, &upstream.chosen) {
            (Target::Balanced(_), Some(chosen)) => pool.at(chosen.endpoint()),
            (Target::Fixed(place) | Target::Undecided(_, place), _) => Rc::clone(place),
            (Target::Balanced(_), None) => return,
        };
        self.make_room(upstream.chosen.as_ref());
        // One that has gone meanwhile is missed by nobody.
        drop(place.add((upstream.stream, has), pool.limits()).await);
    }

    /// What is known now of what there is to choose from.
    pub(super) fn current(&self) -> Option<Arc<Destination>> {
        match &self.target {
            Target::Balanced(used) => used.current(),
            Target::Undecided(used, own) => {
                let known = used.known_since()?;
                self.traffic.get_or_init(|| {
                    own.let_go();
                    known.traffic(&self.proxy.peers, self.dst)
                });
                Some(known)
            }
            Target::Fixed(_) => None,
        }
    }

    /// Whether it may not be known what there is to choose from.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.target, Target::Undecided(..))
    }

    /// The instruments for all that goes there.
    pub(crate) fn traffic(&self) -> &Traffic {
        self.traffic.get().unwrap_or(&self.proxy.traffic)
    }

    /// Serves until the connection ends, and says why it did.
    pub(crate) async fn serve(self: Rc<Self>, downstream: TcpStream, begun: Begun) -> Reason {
        let limits = self.proxy.http2.pool.limits();
        let (wire, gathered) = gather_behind(downstream, begun);
        let handshake = super::server(limits).handshake(wire);
        let mut connection = match timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(_)) => return Reason::DownstreamReset,
            Err(_) => return Reason::RequestHeadTimeout,
        };
        self.waiter.waits_for(WaitsFor::Request);
        let mut ending = None;
        loop {
            let accepted = poll_fn(|cx| {
                let accepted = self.poll(cx, &mut connection, &mut ending);
                send_if_pending(accepted, &gathered, cx)
            });
            let accepted = accepted.await;
            match accepted {
                Some(Ok((request, respond))) => {
                    let stream = Stream::new(self.busy(), respond);
                    spawn_local(stream.run(request));
                }
                Some(Err(Broken { reason, source })) => {
                    let client = self.client;
                    tracing::debug!(%client, %source, %reason, "a downstream connection ended");
                    return reason;
                }
                None => return ending.unwrap_or(Reason::Finished),
            }
        }
    }

    /// The next stream. Tells the client to send no more of them (GOAWAY) when the
    /// connection is to end; those there are still finish. In a drain, that is with the
    /// first stream, or once it has been waited for long enough: who is told before may
    /// not begin one (RFC 9113 section 6.8), and would connect again to hear the same.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        connection: &mut Connection<Wire, Bytes>,
        ending: &mut Option<Reason>,
    ) -> Poll<Option<Accepted>> {
        if ending.is_none() {
            let over = self.waiter.poll_over(cx);
            *ending = match over {
                Poll::Ready(reason) => Some(reason),
                Poll::Pending if self.is_used.get() && self.waiter.is_draining() => {
                    Some(Reason::Draining)
                }
                Poll::Pending => None,
            };
            if ending.is_some() {
                connection.graceful_shutdown();
            }
        }
        let accepted = connection.poll_accept(cx);
        accepted.map(|accepted| accepted.map(|stream| stream.map_err(Broken::from)))
    }

    fn busy(self: &Rc<Self>) -> Busy {
        let http2 = &self.proxy.http2;
        self.is_used.set(true);
        self.streams.set(self.streams.get() + 1);
        // The client knows how many it may open, and waits with more of them.
        if self.streams.get() == http2.pool.limits().streams_max as usize {
            let (client, reason) = (self.client, Reason::TooManyStreams);
            tracing::debug!(%client, %reason, "a client has all the streams it may have");
            self.proxy.metrics.reached(reason.as_str());
        }
        self.waiter.waits_for(WaitsFor::Nothing);
        Busy(Rc::clone(self))
    }
}

/// Sends what is held once there is nothing else to do.
fn send_if_pending(
    accepted: Poll<Option<Accepted>>,
    gathered: &Gathered,
    cx: &mut Context<'_>,
) -> Poll<Option<Accepted>> {
    if accepted.is_pending()
        && let Poll::Ready(Err(error)) = gathered.poll_send(cx)
    {
        return Poll::Ready(Some(Err(error.into())));
    }
    accepted
}

type Accepted = Result<
    (
        http::Request<h2::RecvStream>,
        h2::server::SendResponse<Bytes>,
    ),
    Broken,
>;

/// A connection that does not go on.
#[derive(Debug)]
struct Broken {
    reason: Reason,
    source: Box<dyn std::error::Error>,
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        let reason = match error.reason() {
            _ if !error.is_library() => Reason::DownstreamReset,
            Some(Code::ENHANCE_YOUR_CALM) => Reason::TooManyResets,
            _ => Reason::ProtocolError,
        };
        let source = error.into();
        Self { reason, source }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        let (reason, source) = (Reason::DownstreamReset, error.into());
        Self { reason, source }
    }
}

impl std::ops::Deref for Busy {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.0.streams.get() - 1;
        self.0.streams.set(left);
        if left == 0 {
            self.0.waiter.waits_for(WaitsFor::Request);
        }
    }
}
