//! What can come of a question, to the kubelet and to people.

use std::{io, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// What the application said. Whether an HTTP status is a good one is for the kubelet
/// to say, which gets it as it is.
#[derive(Debug)]
pub(super) enum Answer {
    /// It accepts connections, or says that it is serving.
    Yes,
    /// An HTTP response.
    Http {
        status: StatusCode,
        /// Of a redirect to another host, which the kubelet takes for a success.
        location: Option<HeaderValue>,
        /// Its beginning; empty if it is not for everybody.
        body: Bytes,
    },
}

/// Why there is no answer. The words are for people who look into it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("connection refused")]
    Refused,
    #[error("could not connect: {0}")]
    Unreachable(#[source] io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("port {0} is the sidecar's own, not the application's")]
    OwnPort(u16),
    #[error("TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    #[error("not answered in HTTP: {0}")]
    Http(#[source] hyper::Error),
    #[error("redirected to where no request can go: {0:?}")]
    Redirect(String),
    #[error("stopped after 10 redirects")]
    Redirects,
    #[error("not answered in gRPC: {0}")]
    Grpc(#[source] tonic::transport::Error),
    #[error("health check failed: {} ({:?})", .0.message(), .0.code())]
    Rpc(#[source] Box<tonic::Status>),
    #[error("this server does not implement grpc.health.v1.Health")]
    Unimplemented,
    #[error("service unhealthy (responded with {0:?})")]
    NotServing(&'static str),
}

impl Answer {
    /// In logs and metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Yes => "passed",
            Self::Http { status, .. } if (200..400).contains(&status.as_u16()) => "passed",
            Self::Http { .. } => "failed_status",
        }
    }
}

impl Failure {
    pub(super) fn of_connect(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            _ => Self::Unreachable(error),
        }
    }

    /// In logs and metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Refused => "connection_refused",
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::OwnPort(_) => "own_port",
            Self::Tls(_) => "tls_failed",
            Self::Http(_) | Self::Grpc(_) => "protocol_error",
            Self::Redirect(_) | Self::Redirects => "bad_redirect",
            Self::Rpc(_) => "rpc_failed",
            Self::Unimplemented => "rpc_unimplemented",
            Self::NotServing(_) => "not_serving",
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self::Http {
            status,
            location,
            body,
        } = self
        else {
            return "ok\n".into_response();
        };
        if status.as_u16() < 200 {
            // An answer of its own kind would change this connection's protocol.
            let why = format!("answered with {status}\n");
            return (StatusCode::BAD_GATEWAY, why).into_response();
        }
        let plain = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
        let mut response = (status, [plain], body).into_response();
        if let Some(location) = location {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}
