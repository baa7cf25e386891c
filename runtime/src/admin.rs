//! The HTTP server on the admin port: `/ready`, `/live`, `/log`, and what the
//! process adds to them (`/metrics`, `/config`).
//!
//! It is reachable from the whole pod network, so it only tells. What changes
//! something (`PUT /log`) is taken from loopback alone, which is where
//! `kubectl port-forward` and `kubectl exec` come from.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Extension, Router,
    extract::{ConnectInfo, DefaultBodyLimit, FromRequest as _, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::map_response_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

use crate::{Acceptor, Readiness, logging::LogHandle};

mod accepted;

pub use accepted::{Accepted, Kept};

/// A log filter is a line, not a file.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Probes, a scraper and a few people: more than that is a mistake or an attack, which
/// must not keep the kubelet out: it would take the pod for dead.
const CONNECTIONS_MAX: usize = 128;
/// A client that connects and says nothing gives its place back after this, and so does
/// one that asks nothing more. Nobody's usual interval: who asks every 10 seconds is not
/// to find the connection closed under the next request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(13);
/// After this, the next answer is a connection's last. Who keeps theirs open connects anew.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(60);
/// No connection takes a place for longer, whatever it sends or does not read, unless
/// its request is kept ([`Accepted::keep`]): a request within [`KEEP_ALIVE_MAX`], the two
/// minutes that a scrape may take at most, and half a minute to read its end.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(KEEP_ALIVE_MAX.as_secs() + 120 + 30);

/// What the admin server tells about.
#[derive(Clone)]
pub struct Admin {
    readiness: Readiness,
    log: LogHandle,
}

impl Admin {
    /// The routes that every process has.
    #[must_use]
    pub fn new(readiness: Readiness, log: LogHandle) -> Self {
        Self { readiness, log }
    }

    /// Those routes, and the process's own.
    pub fn router(self, own: Router) -> Router {
        Router::new()
            .route("/ready", get(ready))
            .route("/live", get(|| async { "live\n" }))
            .route("/log", get(log_filter).put(set_log_filter))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
            .merge(own)
    }
}

/// Serves until the process ends: while it drains too, so that the drain can be
/// watched. A connection's error ends that connection only.
pub async fn serve(listener: TcpListener, router: Router) {
    let acceptor = Acceptor::new(listener, "connections to the admin port", CONNECTIONS_MAX);
    loop {
        let (stream, peer, slot) = acceptor.accept().await;
        let accepted = match stream.local_addr() {
            Ok(local) => Accepted::at(local, slot.holder()),
            // The client has gone already.
            Err(_) => continue,
        };
        let router = router.clone();
        tokio::spawn(async move {
            attend(stream, peer, accepted, router).await;
            drop(slot);
        });
    }
}

/// One connection, until its client or its time ends it.
async fn attend(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    accepted: Accepted,
    router: Router,
) {
    let service = router
        .layer(map_response_with_state(accepted.clone(), last_in_time))
        .layer(Extension(accepted.clone()))
        .layer(Extension(ConnectInfo(peer)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::debug!(%error, %peer, "connection to the admin port ended early");
        },
        () = accepted.over(CONNECTION_TIME_MAX) => {}
    }
}

/// An old connection ends with an answer, rather than in one or under a request.
async fn last_in_time(State(accepted): State<Accepted>, mut response: Response) -> Response {
    if accepted.since.elapsed() >= KEEP_ALIVE_MAX {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

async fn ready(State(admin): State<Admin>) -> Response {
    let missing = admin.readiness.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    let why = format!("not ready: {}\n", missing.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn log_filter(State(admin): State<Admin>) -> String {
    format!("{}\n", admin.log.current())
}

async fn set_log_filter(
    State(admin): State<Admin>,
    Extension(ConnectInfo(peer)): Extension<ConnectInfo<SocketAddr>>,
    request: Request,
) -> Response {
    // Before the body is read: nobody else keeps the server waiting for one.
    if !peer.ip().to_canonical().is_loopback() {
        let why =
            "the log filter can only be changed from within the pod; use kubectl port-forward\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let filter = match String::from_request(request, &()).await {
        Ok(filter) => filter,
        Err(refused) => return refused.into_response(),
    };
    match admin.log.set(filter.trim()) {
        Ok(()) => {
            tracing::info!(filter = filter.trim(), "log filter changed");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
