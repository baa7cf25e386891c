//! HTTP to a port of a pod, the way `kubectl port-forward` gets there: through the API
//! server and the kubelet. It needs no Service, no Ingress, and nothing but the right
//! to forward ports.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::Fuse};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, client::UpgradeConnectionError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Asked as _, is_refusal};

/// How long the way to the port may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take, where a caller has no other idea of it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer: a sidecar's metrics are some hundred KiB.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is told of a connection that was closed without an answer or a complaint.
const HUNG_UP: &str = "it was closed without an answer";

/// Never ends if there is nothing to complain of.
type Complaint = Pin<Box<dyn Future<Output = String> + Send>>;

/// A connection to a port of a pod.
pub struct Session {
    /// `namespace/name`.
    pod: String,
    port: u16,
    sender: SendRequest<Full<Bytes>>,
    /// What the kubelet has to say, if it could not connect.
    complaint: Fuse<Complaint>,
    _connection: AbortOnDropHandle<()>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status, 2xx unless it was asked for otherwise.
    pub status: StatusCode,
    /// Its headers.
    pub headers: http::HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// There is no such pod (any more).
    #[error("there is no pod {0}")]
    Gone(String),
    /// The API server does not let it through.
    #[error("could not forward port {port} of pod {pod}")]
    Forward {
        /// The pod.
        pod: String,
        /// Its port.
        port: u16,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// Nobody listens there, or the pod ends. The way to it is open before that is known, so
    /// the kubelet has to say so afterwards, or only hangs up.
    #[error("pod {pod} does not take a connection at port {port}: {why}")]
    Refused {
        /// The pod.
        pod: String,
        /// Its port.
        port: u16,
        /// What the kubelet says, or that it says nothing.
        why: String,
    },
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It broke off within an answer, or this is no HTTP.
    #[error("the answer broke off")]
    BrokeOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is a refusal.
    #[error("{status}: {body}")]
    Status {
        /// Its status.
        status: StatusCode,
        /// Its first line.
        body: String,
    },
}

impl NoAnswer {
    /// Whether the pod has ended meanwhile, which is nobody's fault.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Whether the pod has answered that it has no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let Self::Status { status, .. } = self else {
            return false;
        };
        *status == StatusCode::NOT_FOUND
    }

    /// Whether the API server does not let whoever asks through to pods.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        let code = match self {
            Self::Forward {
                source: kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)),
                ..
            } => code.as_u16(),
            Self::Forward {
                source: kube::Error::Api(status),
                ..
            } => status.code,
            _ => return false,
        };
        is_refusal(code)
    }

    /// As a command's own failure: what the API server refuses is told as such.
    #[must_use]
    pub fn into_error(self) -> anyhow::Error {
        match self {
            Self::Forward { pod, port, source } => {
                let doing = format!("forward port {port} of pod {pod}");
                let refused: anyhow::Result<()> = Err(source).asked(&doing);
                refused.expect_err("it was an error before")
            }
            other => other.into(),
        }
    }

    /// With its causes, on one line.
    #[must_use]
    pub fn line(&self) -> String {
        let causes = std::iter::successors(Some(self as &dyn std::error::Error), |e| e.source());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        texts.join(": ")
    }
}

impl Session {
    /// Opens one.
    ///
    /// # Errors
    /// If the API server refuses, or takes too long. That nobody listens is only
    /// known once something is asked.
    pub async fn open(
        client: &Client,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<Self, NoAnswer> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let pod = format!("{namespace}/{name}");
        let ports = [port];
        let opening = timeout(CONNECT_TIMEOUT, pods.portforward(name, &ports)).await;
        let opened = opening.map_err(|_| NoAnswer::Timeout(CONNECT_TIMEOUT))?;
        let mut forwarder = opened.map_err(|source| {
            let pod = pod.clone();
            match source {
                kube::Error::Api(status) if status.code == 404 => NoAnswer::Gone(pod),
                source => NoAnswer::Forward { pod, port, source },
            }
        })?;
        let stream = forwarder
            .take_stream(port)
            .expect("the port was asked for, and taken by nobody else");
        let errors = forwarder
            .take_error(port)
            .expect("the port was asked for, and taken by nobody else");
        let complaint: Complaint = Box::pin(async {
            match errors.await {
                Some(why) => why,
                None => std::future::pending().await,
            }
        });
        Self::over(stream, complaint, pod, port).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        complaint: Complaint,
        pod: String,
        port: u16,
    ) -> Result<Self, NoAnswer> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| NoAnswer::BrokeOff(error.into()))?;
        let connection = tokio::spawn(async move {
            // Whoever waits for an answer learns of its end.
            let _ = connection.await;
        });
        Ok(Self {
            pod,
            port,
            sender,
            complaint: complaint.fuse(),
            _connection: AbortOnDropHandle::new(connection),
        })
    }

    /// `GET`s a path, of which a 2xx status is expected.
    ///
    /// # Errors
    /// If there is no such answer in time.
    pub async fn get(&mut self, path: &str) -> Result<Answer, NoAnswer> {
        self.send(Method::GET, path, Bytes::new(), ANSWER_TIMEOUT)
            .await
    }

    /// Sends a request, whose answer should have a 2xx status.
    ///
    /// # Errors
    /// If there is no such answer in time.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Answer, NoAnswer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Full::new(body))
            .map_err(|error| NoAnswer::BrokeOff(error.into()))?;
        let Self {
            pod,
            port,
            sender,
            complaint,
            ..
        } = self;
        let refused = |why: &str| NoAnswer::Refused {
            pod: pod.clone(),
            port: *port,
            why: why.trim().to_owned(),
        };
        let mut complaint = complaint;
        let mut exchange = pin!(timeout(within, exchange(sender, request)).fuse());
        let answered = futures_util::select_biased! {
            why = complaint => return Err(refused(&why)),
            answered = exchange => answered.map_err(|_| NoAnswer::Timeout(within))?,
        };
        let answer = match answered {
            Err(Broken::Unanswered) => {
                // A complaint comes before that, and may have come since it was looked for; it is
                // lost if what is sent meanwhile finds the connection closed.
                let why = complaint.now_or_never();
                return Err(refused(why.as_deref().unwrap_or(HUNG_UP)));
            }
            Err(Broken::Within(error)) => return Err(NoAnswer::BrokeOff(error)),
            Ok(answer) => answer,
        };
        if answer.status.is_success() {
            return Ok(answer);
        }
        let body = String::from_utf8_lossy(&answer.body);
        Err(NoAnswer::Status {
            status: answer.status,
            body: body.lines().next().unwrap_or_default().to_owned(),
        })
    }
}

/// How an exchange ended without an answer.
enum Broken {
    /// The connection was closed before the answer's head was there.
    Unanswered,
    /// The answer is incomplete, too long, or none.
    Within(Box<dyn std::error::Error + Send + Sync>),
}

impl From<hyper::Error> for Broken {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse() {
            Self::Within(error.into())
        } else {
            Self::Unanswered
        }
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Broken> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.map_err(Broken::Within)?.to_bytes(),
    })
}

#[cfg(test)]
mod tests;
