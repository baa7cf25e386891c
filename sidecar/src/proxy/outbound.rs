//! Connections of the local application.

use std::{io, rc::Rc, sync::Arc};

use tokio::{net::TcpStream, time::Instant};

use super::{Accepted, Proxy, Rest};
use crate::{
    addr::{ClientAddr, EndpointAddr, OriginalDst},
    balance::Unit,
    connect::{ConnectError, Connector, Upstream},
    destination::Destination,
    detect::Protocol,
    http1::session::Target,
    http2, intercept,
    listener::{self, Door, Listeners},
    protocol::{Begun, Hint},
    reason::Reason,
    route,
    view::{Found, InUse, View},
};

/// Proxies connections of the local application.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// What they have in common with inbound ones.
    pub proxy: Proxy,
    /// What is known of destinations.
    pub view: Arc<View>,
}

/// Where an outbound connection goes.
#[derive(Debug)]
enum Route {
    /// To an endpoint, for each connection or request.
    Endpoint(InUse, Arc<Destination>),
    /// To where it was going, until the catalog has said what is there.
    Undecided(InUse),
    /// To where it was going.
    PassThrough,
}

impl Outbound {
    /// Serves until the process ends.
    ///
    /// # Errors
    /// If the listeners cannot be waited for.
    pub async fn serve(self, listeners: Listeners, door: Door) -> io::Result<()> {
        let outbound = Rc::new(self);
        listener::accept(listeners, door, |downstream, client| {
            let outbound = Rc::clone(&outbound);
            async move {
                let dst = intercept::original_dst(&downstream).unwrap_or_default();
                outbound.connection(dst, downstream, client).await;
            }
        })
        .await
    }

    /// One connection, from its original destination to its end.
    pub(super) async fn connection(
        &self,
        dst: Option<OriginalDst>,
        downstream: TcpStream,
        client: ClientAddr,
    ) {
        let rest = Box::pin(self.begin(dst, downstream, client)).await;
        if let Some(rest) = rest {
            rest.await;
        }
    }

    /// Finds out where it goes and what it carries; nothing, if it has ended with that.
    async fn begin(
        &self,
        dst: Option<OriginalDst>,
        downstream: TcpStream,
        client: ClientAddr,
    ) -> Option<Rest<'_>> {
        let since = Instant::now();
        let (dst, route) = match self.route(dst, client).await {
            Ok(route) => route,
            Err(reason) => {
                self.proxy.refuse(downstream, client, dst, reason);
                return None;
            }
        };
        let accepted = Accepted {
            downstream,
            client,
            dst,
            since,
            traffic: match &route {
                Route::Endpoint(_, known) => known.traffic(&self.proxy.peers, dst),
                Route::Undecided(_) | Route::PassThrough => self.proxy.traffic.clone(),
            },
        };
        let hint = route.hint();
        let connector = &self.proxy.connector;
        let connect = async || route.connect(dst, connector).await;
        let finder = &self.proxy.finder;
        let found = match finder.find(dst, hint, &accepted.downstream, connect).await {
            Ok(found) => found,
            Err(unfound) => {
                self.proxy.leave(accepted, unfound);
                return None;
            }
        };
        self.proxy.carries(&accepted, &found.protocol);
        let early = (found.upstream, found.begun);
        let (protocol, route) = match (found.protocol, route) {
            (Protocol::Http1, Route::Endpoint(used, _)) => {
                let target = Target::Balanced(used);
                return Some(self.proxy.http1(accepted, target, early));
            }
            (Protocol::Http2, Route::Endpoint(used, _)) => {
                let target = http2::session::Target::Balanced(used);
                return Some(self.proxy.http2(accepted, target, early));
            }
            found => found,
        };
        let upstream = match early.0 {
            Some(upstream) => Ok(upstream),
            None => route.connect(dst, connector).await,
        };
        match upstream {
            Ok(upstream) => Some(self.pass_on(accepted, (upstream, early.1), protocol, route)),
            Err(error) => {
                self.proxy.give_up(accepted, &error);
                None
            }
        }
    }

    /// One that goes over this upstream: all of it, or as much as comes before it is known
    /// what there is to choose from.
    fn pass_on(
        &self,
        accepted: Accepted,
        (upstream, begun): (Upstream, Begun),
        protocol: Protocol,
        route: Route,
    ) -> Rest<'_> {
        match (protocol, route) {
            (Protocol::Http1, Route::Undecided(used)) => {
                let target = Target::Undecided(used);
                self.proxy.http1(accepted, target, (Some(upstream), begun))
            }
            (Protocol::Http2, Route::Undecided(used)) => {
                let target = http2::session::Target::Undecided(used, Rc::default());
                self.proxy.http2(accepted, target, (Some(upstream), begun))
            }
            // The address counts as used until its connection has ended.
            (protocol, route) => {
                let upstream = (upstream, begun);
                self.proxy.opaque(accepted, upstream, protocol, route)
            }
        }
    }

    async fn route(
        &self,
        dst: Option<OriginalDst>,
        client: ClientAddr,
    ) -> Result<(OriginalDst, Route), Reason> {
        let (dst, route, reason) = match route::outbound(dst, client, &self.proxy.own) {
            route::Outbound::Refuse(reason) => return Err(reason),
            route::Outbound::PassThrough(dst, reason) => (dst, Route::PassThrough, reason),
            route::Outbound::Discover(dst) => match self.view.find(dst).await {
                Found::Destination(used, known) => {
                    return Ok((dst, Route::Endpoint(used, known)));
                }
                Found::Unanswered(used, reason) => (dst, Route::Undecided(used), reason),
                Found::PassThrough(reason) => (dst, Route::PassThrough, reason),
            },
        };
        self.proxy.metrics.passed_through(reason.as_str());
        tracing::debug!(%client, %dst, %reason, "passing a connection through");
        Ok((dst, route))
    }
}

impl Route {
    /// What Kubernetes objects say of the destination's protocol.
    fn hint(&self) -> Option<Hint> {
        match self {
            Route::Endpoint(_, known) => Hint::of(&known.protocol_hint),
            Route::Undecided(_) | Route::PassThrough => None,
        }
    }

    /// Connects an upstream for all of a connection to `dst`.
    async fn connect(
        &self,
        dst: OriginalDst,
        connector: &Connector,
    ) -> Result<Upstream, ConnectError> {
        // A connect may take a while: the second one goes to an endpoint that is known then.
        let choose = |without: &[EndpointAddr]| match self {
            Route::Endpoint(used, _) => {
                let known = used.current()?;
                known.choose(Unit::Connection, without, Instant::now())
            }
            Route::Undecided(_) | Route::PassThrough => None,
        };
        match choose(&[]) {
            Some(first) => connector.endpoint(first, |tried| choose(&[tried])).await,
            // Endpoints that went while the client said nothing: the destination says so in
            // its own way.
            None => connector.original(dst).await,
        }
    }
}
