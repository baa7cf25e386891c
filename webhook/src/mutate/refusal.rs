//! What is refused before there is a pod to decide about.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::review::Malformed;

use super::body::{BODY_BYTES_MAX, BODY_TIMEOUT, ROOM_TIMEOUT};

/// Why a request gets an HTTP error. The API server takes it as a failed webhook,
/// and goes by the configuration's `failurePolicy`: unless it is `Fail`, the pod starts
/// without a sidecar.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the content type must be application/json, not {0:?}")]
    ContentType(String),
    #[error("the body is over {} MiB", BODY_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("the body did not arrive within {BODY_TIMEOUT:?}")]
    TooSlow,
    #[error("the body broke off")]
    BrokeOff,
    #[error("too much is being answered, and nothing became free within {ROOM_TIMEOUT:?}")]
    Busy,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Refusal {
    /// Its name in the log, the metric and the span.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::ContentType(_) => "content_type",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::BrokeOff => "broke_off",
            Self::Busy => "busy",
            Self::Malformed(_) => "malformed",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BrokeOff | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if let Self::Busy = self {
            // The API server's client then asks again, as long as it has time.
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
