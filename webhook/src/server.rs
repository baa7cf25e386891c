//! HTTPS: accepts connections, bounded in number, and in how long they may say
//! nothing. HTTP/2 or HTTP/1.1, as the client chose in its TLS hello (ALPN).

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderValue, Request, header},
    response::Response,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use netting_runtime::{Acceptor, Drain, Holder};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use crate::certificate::serving::Serving;

/// An API server needs one or two; a cluster has a few of them. Anybody may connect, and
/// takes no other's place.
const CONNECTIONS_MAX: usize = 512;
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// From accept to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// From the handshake to the first request.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// From an answer to the head of the next request. The API server ends a connection
/// that it has not used for 90 s (Go's `http.DefaultTransport`), and must be the one who does: a
/// request that crosses our end of it is lost, since Go sends no POST again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// An HTTP/2 client that is told so has this long to go.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an HTTP/2 client is asked whether it is still there, and how long it
/// may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until the drain has started and `linger` is over, then answers what is in
/// flight. A connection's error ends that connection only.
///
/// Connections are accepted for so long until every node's kube-proxy has heard that
/// this replica is not ready any more: a request that is turned away meanwhile would
/// be a pod that isn't injected. Clients of HTTP/1.1 are asked to leave with each
/// answer of that time, those of HTTP/2 at its end (GOAWAY).
pub async fn serve(
    listener: TcpListener,
    tls: Serving,
    routes: Router,
    linger: Duration,
    drain: Drain,
) {
    let acceptor = Acceptor::new(listener, "connections to the webhook", CONNECTIONS_MAX);
    let closing = CancellationToken::new();
    let mut lingered = pin!(async {
        drain.started().await;
        sleep(linger).await;
    });
    loop {
        let (stream, client, slot) = tokio::select! {
            biased;
            () = lingered.as_mut() => break,
            accepted = acceptor.accept() => accepted,
        };
        let connection = Connection {
            client,
            holder: slot.holder().clone(),
            tls: tls.clone(),
            routes: routes.clone(),
            closing: closing.clone(),
            drain: drain.clone(),
        };
        drain.spawn(async move {
            tokio::select! {
                // First, so that what has been answered is sent.
                biased;
                () = connection.serve(stream) => {}
                () = slot.holder().revoked() => tracing::debug!(%client, "gave way to another"),
            }
        });
    }
    closing.cancel();
}

struct Connection {
    client: SocketAddr,
    holder: Holder,
    tls: Serving,
    routes: Router,
    /// Cancelled once nothing more is to be asked.
    closing: CancellationToken,
    drain: Drain,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let client = self.client;
        // An answer is several small writes; none of them is to wait for the
        // client's delayed acknowledgement (40 ms) of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %client, "could not turn Nagle's algorithm off");
        }
        let handshake = timeout(HANDSHAKE_TIMEOUT, async {
            self.tls.acceptor().await.accept(stream).await
        });
        let handshake = tokio::select! {
            handshake = handshake => handshake,
            () = self.closing.cancelled() => return,
        };
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                tracing::debug!(%client, "connected and went away");
                return;
            }
            Ok(Err(error)) => {
                // The API server's complaint, should it not trust the certificate,
                // comes as a TLS alert.
                tracing::warn!(%error, %client, "TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!(%client, "no TLS handshake in time");
                return;
            }
        };
        self.answer(stream).await;
    }

    async fn answer(self, stream: TlsStream<TcpStream>) {
        let client = self.client;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let asked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&asked);
        let holder = self.holder.clone();
        let routes = ServiceBuilder::new()
            .map_request(move |mut request: Request<_>| {
                seen.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(ConnectInfo(client));
                request
            })
            .map_response(move |mut response: Response| {
                if !http2 && self.drain.has_started() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response
            })
            .map_future(move |answer| holder.during(answer))
            .service(self.routes);
        let builder = http(http2);
        let serving =
            builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        let mut serving = pin!(serving);
        let mut idle = pin!(idle(&self.holder, &asked));
        let leave = async {
            tokio::select! {
                () = self.closing.cancelled() => {}
                () = self.holder.idle_for(IDLE_TIMEOUT) => {}
            }
        };
        let mut leave = pin!(leave);
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                served = serving.as_mut() => {
                    if let Err(error) = served {
                        tracing::debug!(error, %client, "connection ended early");
                    }
                    return;
                }
                () = idle.as_mut() => {
                    tracing::debug!(%client, "no request in time");
                    return;
                }
                () = leave.as_mut(), if !told => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Resolves if the client hasn't sent a first request in time, or no other for so long
/// that it was asked to leave, and hasn't.
/// (hyper bounds the time for a request's head as that between two, and not that for HTTP/2's first
/// frame.)
async fn idle(holder: &Holder, asked: &AtomicBool) {
    sleep(FIRST_REQUEST_TIMEOUT).await;
    if asked.load(Ordering::Relaxed) {
        holder.idle_for(IDLE_TIMEOUT + GOAWAY_TIMEOUT).await;
    }
}

fn http(http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    }
}
