//! The life of a connection, both ways.

use std::sync::Arc;

use netting_runtime::Drain;
use netting_telemetry::connections::DirectionMetrics;
use tokio::net::TcpStream;

use crate::{
    addr::{ClientAddr, OriginalDst},
    connect::{self, ConnectError, Connector, Upstream},
    destination::Chosen,
    intercept,
    listener::{self, Listeners, Places},
    reason::Reason,
    relay::{Count, relay},
    route::{self, OwnPorts},
    view::{Answer, InUse, View},
};

/// Proxies connections of the local application.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// The ports that must not be proxied to.
    pub own: OwnPorts,
    /// How upstreams are connected.
    pub connector: Connector,
    /// What is known of destinations.
    pub view: Arc<View>,
    /// The direction's instruments.
    pub metrics: DirectionMetrics,
}

/// Proxies connections to the local application.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The ports that must not be proxied to.
    pub own: OwnPorts,
    /// How the application is connected.
    pub connector: Connector,
    /// The direction's instruments.
    pub metrics: DirectionMetrics,
}

/// Where an outbound connection goes.
#[derive(Debug)]
enum Route {
    /// To an endpoint; this one first.
    Endpoint(InUse, Chosen),
    /// To where it was going.
    PassThrough(OriginalDst, Reason),
    /// Nowhere.
    Refuse(Reason),
}

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// It was refused.
    #[error("refused")]
    Refused(Reason),
    /// Its upstream could not be connected.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Outbound {
    /// Serves until the process ends.
    pub async fn serve(self, listeners: Listeners, places: Places, drain: Drain) {
        let metrics = self.metrics.clone();
        let proxy = Arc::new(self);
        listener::accept(listeners, places, metrics, drain, |downstream, client| {
            let proxy = Arc::clone(&proxy);
            async move { proxy.connection(downstream, client).await }
        })
        .await;
    }

    async fn connection(&self, downstream: TcpStream, client: ClientAddr) {
        let dst = intercept::original_dst(&downstream).unwrap_or_default();
        self.connection_to(dst, downstream, client).await;
    }

    /// One connection, from its original destination to its end.
    pub(crate) async fn connection_to(
        &self,
        dst: Option<OriginalDst>,
        downstream: TcpStream,
        client: ClientAddr,
    ) {
        let (used, upstream) = match self.route(dst, client).await {
            Route::Endpoint(used, first) => {
                let upstream = self.connector.endpoint(used.destination(), first).await;
                (Some(used), upstream.map_err(Failed::from))
            }
            Route::PassThrough(dst, reason) => {
                self.metrics.passed_through(reason.as_str());
                tracing::debug!(%client, %dst, %reason, "passing a connection through");
                (
                    None,
                    self.connector.original(dst).await.map_err(Failed::from),
                )
            }
            Route::Refuse(reason) => (None, Err(Failed::Refused(reason))),
        };
        match upstream {
            Ok(upstream) => exchange(downstream, upstream, client, &self.metrics).await,
            Err(failed) => give_up(downstream, &failed, client, dst, &self.metrics),
        }
        // The address counts as used until its connection has ended.
        drop(used);
    }

    async fn route(&self, dst: Option<OriginalDst>, client: ClientAddr) -> Route {
        match route::outbound(dst, client, &self.own) {
            route::Outbound::Refuse(reason) => Route::Refuse(reason),
            route::Outbound::PassThrough(dst, reason) => Route::PassThrough(dst, reason),
            route::Outbound::Discover(dst) => match self.view.resolve(dst).await {
                Answer::Endpoint(used, first) => Route::Endpoint(used, first),
                Answer::PassThrough(reason) => Route::PassThrough(dst, reason),
            },
        }
    }
}

impl Inbound {
    /// Serves until the process ends.
    pub async fn serve(self, listeners: Listeners, places: Places, drain: Drain) {
        let metrics = self.metrics.clone();
        let proxy = Arc::new(self);
        listener::accept(listeners, places, metrics, drain, |downstream, client| {
            let proxy = Arc::clone(&proxy);
            async move { proxy.connection(downstream, client).await }
        })
        .await;
    }

    async fn connection(&self, downstream: TcpStream, client: ClientAddr) {
        let dst = intercept::original_dst(&downstream).unwrap_or_default();
        let upstream = match route::inbound(dst, &self.own) {
            route::Inbound::Deliver(dst) if !intercept::is_own(&downstream, dst) => {
                Err(Failed::Refused(Reason::ForeignDestination))
            }
            route::Inbound::Deliver(dst) => {
                self.connector.original(dst).await.map_err(Failed::from)
            }
            route::Inbound::Refuse(reason) => Err(Failed::Refused(reason)),
        };
        match upstream {
            Ok(upstream) => exchange(downstream, upstream, client, &self.metrics).await,
            Err(failed) => give_up(downstream, &failed, client, dst, &self.metrics),
        }
    }
}

/// Relays until the end of the connection. If one side breaks off, the other side
/// sees a reset too.
async fn exchange(
    mut downstream: TcpStream,
    mut upstream: Upstream,
    client: ClientAddr,
    metrics: &DirectionMetrics,
) {
    metrics.connected(upstream.took);
    if let Some(reason) = upstream.retried {
        metrics.retried(reason.as_str());
    }
    connect::tune(&downstream);
    connect::tune(&upstream.stream);
    let reason = relay(&mut downstream, &mut upstream.stream, metrics).await;
    metrics.closed(reason.as_str());
    tracing::debug!(%client, upstream = %upstream.addr, %reason, "connection ended");
    match reason {
        Reason::DownstreamReset => connect::reset(upstream.stream),
        Reason::UpstreamReset => connect::reset(downstream),
        _ => {}
    }
}

/// Ends a connection that has no upstream: with a reset, which is what the client
/// would have seen without the sidecar.
fn give_up(
    downstream: TcpStream,
    failed: &Failed,
    client: ClientAddr,
    dst: Option<OriginalDst>,
    metrics: &DirectionMetrics,
) {
    let dst = dst.map(|dst| dst.0);
    match failed {
        Failed::Refused(reason) => {
            metrics.refused(reason.as_str());
            tracing::info!(%client, ?dst, %reason, "refused a connection");
        }
        Failed::Connect(error) => {
            let cause = &error.source;
            metrics.closed(error.reason.as_str());
            tracing::info!(%client, ?dst, %error, %cause, reason = %error.reason, "no upstream");
        }
    }
    connect::reset(downstream);
}

impl Count for DirectionMetrics {
    fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }

    fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }
}

#[cfg(test)]
mod tests;
