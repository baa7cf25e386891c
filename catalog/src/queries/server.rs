//! HTTP/1.1, for a bounded number of connections.

use std::{net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, extract::ConnectInfo, http::Request};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use netting_runtime::{Acceptor, Drain, Holder};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceBuilder;

/// Anybody may connect, and takes no other's place.
const CONNECTIONS_MAX: usize = 1024;
/// A client that connects and says nothing gives its place back after this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until the drain starts, then finishes the answers that are under way. A
/// connection's error ends that connection only.
pub async fn serve(listener: TcpListener, routes: Router, drain: Drain) {
    let acceptor = Acceptor::new(listener, "connections for queries", CONNECTIONS_MAX);
    loop {
        let (stream, client, slot) = tokio::select! {
            accepted = acceptor.accept() => accepted,
            () = drain.started() => return,
        };
        let (routes, stopped) = (routes.clone(), drain.clone());
        drain.spawn(async move {
            tokio::select! {
                // First, so that what has been answered is sent.
                biased;
                () = connection(stream, client, slot.holder(), routes, stopped) => {}
                () = slot.holder().revoked() => tracing::debug!(%client, "gave way to another"),
            }
        });
    }
}

async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    holder: &Holder,
    routes: Router,
    drain: Drain,
) {
    let holder = holder.clone();
    let routes = ServiceBuilder::new()
        .map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(ConnectInfo(client));
            request
        })
        .map_future(move |answer| holder.during(answer))
        .service(routes);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = drain.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, %client, "connection to the query port ended early");
    }
}
