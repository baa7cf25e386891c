//! HTTP/1.1, for a bounded number of connections.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, http::Request};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use netting_runtime::Drain;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceBuilder;

/// Beyond this many, clients wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// A client that connects and says nothing gives its place back after this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, so that a lack of file descriptors doesn't spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Serves until the drain starts, then finishes the answers that are under way. A
/// connection's error ends that connection only.
pub async fn serve(listener: TcpListener, routes: Router, drain: Drain) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.expect("nobody closes the semaphore");
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = drain.started() => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let connection = connection(stream, client, routes.clone(), drain.clone());
                drain.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection to the query port");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, client: SocketAddr, routes: Router, drain: Drain) {
    let routes = ServiceBuilder::new()
        .map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(ConnectInfo(client));
            request
        })
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
