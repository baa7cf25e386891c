//! The life of a connection, both ways.

use std::{net::SocketAddr, pin::Pin, rc::Rc};

use netting_telemetry::{
    connections::{Direction, DirectionMetrics},
    trace::Tracer,
    traffic::{Traffic, TrafficMetrics},
};
use tokio::{net::TcpStream, time::Instant};

use crate::{
    access_log::AccessLog,
    addr::{ClientAddr, OriginalDst},
    connect::{self, ConnectError, Connector, Upstream},
    detect::Protocol,
    http1::session::{Http1, Session, Target},
    http2::{self, session::Http2},
    protocol::{Begun, Finder, Unfound},
    reason::Reason,
    route::OwnPorts,
};

mod inbound;
mod opaque;
mod outbound;

pub(crate) use opaque::{Counted, relay_while_there};

pub use inbound::Inbound;
pub use outbound::Outbound;

/// What the connections of one direction have in common, on one thread.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Which way they go.
    pub direction: Direction,
    /// The ports that must not be proxied to.
    pub own: OwnPorts,
    /// How upstreams are connected.
    pub connector: Connector,
    /// How protocols are found out.
    pub finder: Rc<Finder>,
    /// What is written to the log at their end.
    pub access_log: AccessLog,
    /// What begins spans. Nothing, if nobody is sent any: requests go on as they came.
    pub tracer: Option<Tracer>,
    /// The direction's instruments.
    pub metrics: DirectionMetrics,
    /// Those for what goes to nobody who is known by name.
    pub traffic: Traffic,
    /// And for those who are.
    pub peers: TrafficMetrics,
    /// What HTTP/1 connections share.
    pub(crate) http1: Http1,
    /// And HTTP/2 ones.
    pub(crate) http2: Http2,
}

/// A connection that was accepted, and where it was going.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) downstream: TcpStream,
    pub(crate) client: ClientAddr,
    pub(crate) dst: OriginalDst,
    since: Instant,
    /// What counts where it goes.
    pub(crate) traffic: Traffic,
}

/// How a connection goes on once it is known what it carries. To find that out takes
/// more memory than most of what follows, so each has its own for as long as it lasts.
type Rest<'p> = Pin<Box<dyn Future<Output = ()> + 'p>>;

impl Proxy {
    /// Serves request after request until the connection ends.
    fn http1(
        &self,
        accepted: Accepted,
        target: Target,
        early: (Option<Upstream>, Begun),
    ) -> Rest<'_> {
        let mut session = Session::new(self, target, accepted, early);
        // A block uses what it captures where it is; a function would have two of it.
        Box::pin(async move {
            let reason = session.serve().await;
            let (client, dst) = (session.client, session.dst);
            session.traffic.closed(reason.as_str());
            tracing::debug!(%client, %dst, %reason, "connection ended");
        })
    }

    /// Serves stream after stream until the connection ends.
    fn http2(
        &self,
        accepted: Accepted,
        target: http2::session::Target,
        (upstream, begun): (Option<Upstream>, Begun),
    ) -> Rest<'_> {
        let (client, dst) = (accepted.client, accepted.dst);
        let with = (client, dst, accepted.traffic);
        let session = http2::session::Session::new(self.clone(), target, with);
        Box::pin(async move {
            if let Some(upstream) = upstream {
                session.adopt(upstream, begun.passed_on()).await;
            }
            let serving = Rc::clone(&session);
            let reason = serving.serve(accepted.downstream, begun).await;
            session.traffic().closed(reason.as_str());
            tracing::debug!(%client, %dst, %reason, "connection ended");
        })
    }

    /// Notes what a connection carries.
    fn carries(&self, accepted: &Accepted, protocol: &Protocol) {
        self.metrics.carries(protocol.as_str());
        let (client, dst) = (accepted.client, accepted.dst);
        let sni = match protocol {
            Protocol::Tls(name) => name.as_deref(),
            _ => None,
        };
        let protocol = protocol.as_str();
        tracing::debug!(%client, %dst, protocol, sni, "found the protocol");
    }

    /// Ends a connection that goes nowhere with a reset, which is what the client
    /// would have seen without the sidecar.
    fn refuse(
        &self,
        downstream: TcpStream,
        client: ClientAddr,
        dst: Option<OriginalDst>,
        reason: Reason,
    ) {
        let dst: Option<SocketAddr> = dst.map(|dst| dst.0);
        self.metrics.refused(reason.as_str());
        tracing::info!(%client, ?dst, %reason, "refused a connection");
        connect::reset(downstream);
    }

    /// Ends a connection of which nothing could be found out.
    fn leave(&self, accepted: Accepted, unfound: Unfound) {
        match unfound {
            Unfound::Unconnected(error) => self.give_up(accepted, &error),
            Unfound::Unused(reason) => {
                let (client, dst) = (accepted.client, accepted.dst);
                accepted.traffic.closed(reason.as_str());
                tracing::debug!(%client, %dst, %reason, "connection ended unused");
            }
        }
    }

    /// The same as [`refuse`](Self::refuse), for one whose upstream cannot be connected.
    fn give_up(&self, accepted: Accepted, error: &ConnectError) {
        let (client, dst, cause) = (accepted.client, accepted.dst, &error.source);
        accepted.traffic.closed(error.reason.as_str());
        tracing::info!(%client, %dst, %error, %cause, reason = %error.reason, "no upstream");
        connect::reset(accepted.downstream);
    }
}

#[cfg(test)]
pub(crate) mod chain;
#[cfg(test)]
mod tests;
