//! The application's probes and lifecycle hooks, asked on the kubelet's behalf.
//!
//! The kubelet could not tell whether the application is there: the sidecar accepts
//! every connection that is redirected to it. So the webhook has the kubelet ask
//! `/probe/CONTAINER/PROBE` on the admin port instead, and tells the sidecar the
//! original question, which is put to the application here as the kubelet would:
//! at the pod's own address, with the same request, the same patience, and the same
//! idea of success (kubernetes/kubernetes, `pkg/probe` and `pkg/kubelet/lifecycle`).
//!
//! Nothing in a request chooses what is asked: only the probes that the pod was
//! admitted with are, so that the endpoint is no port scanner. In reading order:
//!
//! - [`written`]: the environment variable that carries the questions;
//! - this file: one request's way from the kubelet to the application and back;
//! - `http`, `tls`, `tcp`, `grpc`: the questions;
//! - [`outcome`]: what can come of them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
    routing::get,
};
use netting_runtime::{Drain, admin::Accepted};
use netting_telemetry::probes::ProbeMetrics;
use tokio::{net::TcpStream, sync::oneshot, time::timeout};

use crate::route::OwnPorts;

pub mod outcome;
pub mod written;

mod grpc;
mod http;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;

use outcome::{Answer, Failure};

/// The questions that the pod was admitted with, by the path at which each is asked.
#[derive(Clone, Debug, Default)]
pub struct Probes(HashMap<String, Probe>);

/// One question, and when it is asked.
#[derive(Clone, Debug)]
struct Probe {
    occasion: Occasion,
    /// Of the pod's own address.
    port: NonZeroU16,
    /// How long the application may take.
    timeout: Duration,
    question: Question,
}

/// When the kubelet asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    Liveness,
    Readiness,
    Startup,
    PostStart,
    PreStop,
}

/// What the kubelet asks.
#[derive(Clone, Debug)]
enum Question {
    Http(HttpGet),
    /// Does it accept a connection?
    Tcp,
    /// Does `grpc.health.v1.Health/Check` say that this service is serving?
    Grpc {
        service: String,
    },
}

#[derive(Clone, Debug)]
struct HttpGet {
    scheme: Scheme,
    path: PathAndQuery,
    /// As the probe has them, several of one name too.
    headers: HeaderMap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Occasion {
    const ALL: [Self; 5] = [
        Self::Liveness,
        Self::Readiness,
        Self::Startup,
        Self::PostStart,
        Self::PreStop,
    ];

    /// In paths, logs and metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::PostStart => "poststart",
            Self::PreStop => "prestop",
        }
    }

    /// To a hook any answer is a good one, whatever its status.
    fn is_hook(self) -> bool {
        matches!(self, Self::PostStart | Self::PreStop)
    }
}

/// Where the application is, and who asks it.
#[derive(Clone, Debug)]
struct Asking {
    /// The pod's own address, as the kubelet knows it.
    pod: IpAddr,
    own: OwnPorts,
    user_agent: HeaderValue,
}

impl Asking {
    /// # Errors
    /// If nobody accepts there, or the port is the sidecar's own, which would have it
    /// ask itself.
    async fn connect(&self, port: u16) -> Result<TcpStream, Failure> {
        if self.own.contains(port) {
            return Err(Failure::OwnPort(port));
        }
        let stream = TcpStream::connect(SocketAddr::new(self.pod, port)).await;
        stream.map_err(Failure::of_connect)
    }
}

#[derive(Clone)]
struct Endpoint {
    probes: Arc<Probes>,
    own: OwnPorts,
    metrics: ProbeMetrics,
    drain: Drain,
}

/// `GET /probe/CONTAINER/PROBE`, to be merged into the admin server's routes.
pub fn router(probes: Probes, own: OwnPorts, metrics: ProbeMetrics, drain: Drain) -> Router {
    let endpoint = Endpoint {
        probes: Arc::new(probes),
        own,
        metrics,
        drain,
    };
    Router::new()
        .route("/probe/{*probe}", get(answer))
        .with_state(endpoint)
}

async fn answer(
    State(endpoint): State<Endpoint>,
    Extension(accepted): Extension<Accepted>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(probe) = endpoint.probes.0.get(uri.path()) else {
        let why = "this pod was not admitted with such a probe\n";
        return (StatusCode::NOT_FOUND, why).into_response();
    };
    // Where the kubelet asks, the application is. Loopback is private to the pod.
    if accepted.local.ip().is_loopback() {
        let why = "probes are asked at the pod's own address, not at loopback\n";
        return (StatusCode::MISDIRECTED_REQUEST, why).into_response();
    }
    let asking = Asking {
        pod: accepted.local.ip(),
        own: endpoint.own,
        user_agent: user_agent(&headers),
    };
    let _kept = accepted.keep();
    let _counted = probe.occasion.is_hook().then(|| counted(&endpoint.drain));
    let asked = timeout(probe.timeout, probe.ask(&asking)).await;
    let asked = asked.unwrap_or(Err(Failure::Timeout(probe.timeout)));
    let outcome = asked.as_ref().map_or_else(Failure::as_str, Answer::as_str);
    endpoint.metrics.asked(probe.occasion.as_str(), outcome);
    let error = asked.as_ref().err().map(tracing::field::display);
    tracing::debug!(probe = uri.path(), outcome, error, "asked the application");
    if !probe.occasion.is_hook() {
        return asked.map_or_else(IntoResponse::into_response, IntoResponse::into_response);
    }
    match asked {
        // Not reused: on a connection of its own, the next hook is not tried twice.
        Ok(answer) => ([(header::CONNECTION, "close")], answer).into_response(),
        Err(error) => {
            tracing::info!(hook = uri.path(), %error, "the application did not take a hook");
            accepted.hang_up();
            std::future::pending().await
        }
    }
}

impl Probe {
    async fn ask(&self, asking: &Asking) -> Result<Answer, Failure> {
        let port = self.port.get();
        match &self.question {
            Question::Http(get) => http::ask(get, port, self.occasion, asking).await,
            Question::Tcp => tcp::ask(port, asking).await,
            Question::Grpc { service } => grpc::ask(service, port, asking).await,
        }
    }
}

/// The kubelet's own: applications tell probes from users by it. Anybody else's is
/// not the application's business.
fn user_agent(headers: &HeaderMap) -> HeaderValue {
    let is_kubelets = |agent: &&HeaderValue| {
        agent.as_bytes().starts_with(b"kube-probe/")
            || agent.as_bytes().starts_with(b"kube-lifecycle/")
    };
    let agent = headers.get(header::USER_AGENT).filter(is_kubelets);
    agent.map_or(HeaderValue::from_static("kube-probe/1"), Clone::clone)
}

/// Has the drain wait while the application takes a hook: preStop is what ends it in
/// good order. The count ends when what this returns is dropped.
fn counted(drain: &Drain) -> oneshot::Sender<()> {
    let (asking, asked) = oneshot::channel();
    drain.spawn(async move {
        // An error is the news that it was dropped.
        let _ = asked.await;
    });
    asking
}
