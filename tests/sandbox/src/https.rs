//! HTTPS servers: the API's, and the node's for logs and forwarded ports.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may wait for a request: longer than clients keep idle ones, so that none
/// is closed just when it is used.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait after a failed accept, most often for lack of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What a server presents: a certificate, and its key in PKCS #8.
///
/// # Errors
/// If the key isn't the certificate's.
pub(crate) fn acceptor(
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
) -> anyhow::Result<TlsAcceptor> {
    let key = PrivatePkcs8KeyDer::from(key).into();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .context("use the server's certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves `router` on `listener` until `stopping`, and what was begun to its end.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    stopping: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection =
                    connection(stream, acceptor.clone(), router.clone(), stopping.clone());
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(error = format!("{error:#}"), "connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    // Watch events are small, and must not wait for the acknowledgement of the one before.
    stream
        .set_nodelay(true)
        .context("turn off Nagle's algorithm")?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
    let stream = stream
        .context("no TLS handshake in time")?
        .context("TLS handshake")?;
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended.context("serve HTTP"),
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await.context("serve HTTP")
        }
    }
}
