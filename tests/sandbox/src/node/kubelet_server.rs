//! The node's own HTTPS server, from which the API server gets containers' logs and connections to
//! pods' ports.
//!
//! Like a kubelet without `--authorization-mode=Webhook` it answers whoever reaches it; its
//! certificate is made at the start and signed by nobody, which API servers accept by default.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::agent::Node;
use super::logs::{self, Options};
use super::portforward;
use crate::https;

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
        let bound = TcpListener::bind((addr, port)).await;
        let taken =
            || format!("bind the logs' server to {addr}:{port}; choose another --kubelet-port");
        let listener = bound.with_context(taken)?;
        let addr = listener
            .local_addr()
            .context("find the address of the logs' server")?;
        let made = rcgen::generate_simple_self_signed([addr.ip().to_string()]);
        let made = made.context("make a certificate")?;
        let tls = https::acceptor(made.cert.der().clone(), made.signing_key.serialize_der())?;
        Ok(Self {
            listener,
            addr,
            tls,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, node: Arc<Node>) {
        let logs = "/containerLogs/{namespace}/{pod}/{container}";
        let router = Router::new()
            .route(logs, get(container_logs))
            .route("/portForward/{namespace}/{pod}", get(portforward::answer))
            .with_state(node);
        https::serve(self.listener, self.tls, router, CancellationToken::new()).await;
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
