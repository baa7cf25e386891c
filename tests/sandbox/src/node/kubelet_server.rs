//! The node's own HTTPS server, from which the API server gets containers' logs.
//!
//! Like a kubelet without `--authorization-mode=Webhook` it answers whoever reaches it; its
//! certificate is made at the start and signed by nobody, which API servers accept by default.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::agent::Node;
use super::logs::{self, Options};

const CONNECTIONS_MAX: usize = 256;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that doesn't serve yet.
pub(crate) struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    tls: TlsAcceptor,
}

impl Server {
    /// Binds the port, or any free one if it is 0.
    ///
    /// # Errors
    /// When the port is taken.
    pub(crate) async fn bind(addr: IpAddr, port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((addr, port)).await.with_context(|| {
            format!("bind the logs' server to {addr}:{port}; choose another --kubelet-port")
        })?;
        let addr = listener
            .local_addr()
            .context("find the address of the logs' server")?;
        let made = rcgen::generate_simple_self_signed([addr.ip().to_string()])
            .context("make a certificate")?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .map_err(anyhow::Error::msg)
            .context("use the certificate's key")?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .context("use the certificate")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            listener,
            addr,
            tls: TlsAcceptor::from(Arc::new(config)),
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, node: Arc<Node>) {
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/pods", get(pods))
            .route(
                "/containerLogs/{namespace}/{pod}/{container}",
                get(container_logs),
            )
            .with_state(node);
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (tls, router) = (self.tls.clone(), router.clone());
                    tokio::spawn(async move {
                        if let Err(error) = serve_connection(tls, stream, router).await {
                            tracing::debug!(error = format!("{error:#}"), "a connection failed");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

async fn serve_connection(
    tls: TlsAcceptor,
    stream: TcpStream,
    router: Router,
) -> anyhow::Result<()> {
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream))
        .await
        .context("no TLS handshake in time")?
        .context("TLS handshake")?;
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .context("serve HTTP")
}

async fn pods(State(node): State<Arc<Node>>) -> Response {
    let api: Api<Pod> = Api::all(node.client.clone());
    let ours = ListParams::default().fields(&format!("spec.nodeName={}", node.name));
    match api.list(&ours).await {
        Ok(pods) => axum::Json(pods).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn container_logs(
    State(node): State<Arc<Node>>,
    UrlPath((namespace, pod, container)): UrlPath<(String, String, String)>,
    Query(options): Query<Options>,
) -> Response {
    let Some(path) = find(
        &node.pods_dir,
        &namespace,
        &pod,
        &container,
        options.previous,
    ) else {
        let run = if options.previous {
            "previous terminated container"
        } else {
            "container"
        };
        let message = format!("{run} {container:?} in pod {pod:?} not found on this node\n");
        return (StatusCode::NOT_FOUND, message).into_response();
    };
    match logs::stream(&path, options).await {
        Ok(lines) => Body::from_stream(lines).into_response(),
        Err(error) => (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
    }
}

/// The log of a container's newest run, or of the one before. Of two pods with the same name, the
/// one that was here last.
fn find(
    dir: &Path,
    namespace: &str,
    pod: &str,
    container: &str,
    previous: bool,
) -> Option<PathBuf> {
    if container.contains('/') || container.starts_with('.') {
        return None;
    }
    let prefix = format!("{namespace}_{pod}_");
    let pods = std::fs::read_dir(dir).ok()?.flatten();
    let pods = pods.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    let newest = pods.max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok())?;
    let logs = newest.path().join(container);
    let runs = std::fs::read_dir(&logs).ok()?.flatten();
    let newest = runs
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_suffix(".log")?
                .parse::<u32>()
                .ok()
        })
        .max()?;
    let run = if previous {
        newest.checked_sub(1)?
    } else {
        newest
    };
    Some(logs.join(format!("{run}.log")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_newest_run_or_the_one_before_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = dir.path().join("shop_web_u1/app");
        std::fs::create_dir_all(&logs).expect("a directory");
        std::fs::write(logs.join("0.log"), "").expect("a log");
        let found = |namespace: &str, pod: &str, container: &str, previous| {
            find(dir.path(), namespace, pod, container, previous)
        };
        assert_eq!(found("shop", "web", "app", true), None);
        std::fs::write(logs.join("10.log"), "").expect("a log");
        std::fs::write(logs.join("9.log"), "").expect("a log");
        assert_eq!(found("shop", "we", "app", false), None);
        assert_eq!(found("shop", "web", "../app", false), None);
        assert_eq!(found("shop", "web", "..", false), None);
        assert_eq!(
            found("shop", "web", "app", false),
            Some(logs.join("10.log"))
        );
        assert_eq!(found("shop", "web", "app", true), Some(logs.join("9.log")));
    }
}
