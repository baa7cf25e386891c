//! `POST /mutate`: from an HTTP request to a verdict, and the refusals on the way.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use http_body_util::{BodyExt as _, Limited};
use netting_telemetry::admission::AdmissionMetrics;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    decision::Verdict,
    options::Options,
    review::{Answer, Malformed, Review},
};

/// What an object may have at most in the API server: etcd's 1.5 MiB, twice over
/// for an update's old and new one.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// For a whole body, from its first to its last byte. The API server has given up
/// long before.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bodies are held in memory while they arrive; together they get this much.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a request is answered with.
#[derive(Clone)]
pub struct Mutate {
    options: Arc<Options>,
    metrics: AdmissionMetrics,
    bodies: Arc<Semaphore>,
}

/// Why a request gets an HTTP error. The API server takes it as a failed webhook,
/// and goes by the configuration's `failurePolicy: Ignore`.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the content type must be application/json, not {0:?}")]
    ContentType(String),
    #[error("the body is over {} MiB", BODY_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("the body did not arrive within {BODY_TIMEOUT:?}")]
    TooSlow,
    #[error("the body broke off")]
    BrokeOff,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Refusal {
    fn as_str(&self) -> &'static str {
        match self {
            Self::ContentType(_) => "content_type",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::BrokeOff => "broke_off",
            Self::Malformed(_) => "malformed",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BrokeOff | Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl Mutate {
    /// The routes that answer by these options.
    pub fn router(options: Options, metrics: AdmissionMetrics) -> Router {
        let mutate = Self {
            options: Arc::new(options),
            metrics,
            bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
        };
        Router::new()
            .route("/mutate", post(answer))
            .with_state(mutate)
    }

    async fn review(&self, headers: &HeaderMap, body: Body) -> Result<Review, Refusal> {
        require_json(headers)?;
        // Without a length it may turn out to be as long as is allowed.
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok())
            .unwrap_or(BODY_BYTES_MAX);
        if length > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let length = u32::try_from(length).expect("3 MiB fit into 32 bits");
        let read = async {
            let room = self.bodies.acquire_many(length).await;
            let room = room.expect("nobody closes the semaphore");
            (Limited::new(body, BODY_BYTES_MAX).collect().await, room)
        };
        let (body, _room) = timeout(BODY_TIMEOUT, read)
            .await
            .map_err(|_| Refusal::TooSlow)?;
        let body = body.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Refusal::TooLarge
            } else {
                Refusal::BrokeOff
            }
        })?;
        Ok(Review::parse(&body.to_bytes())?)
    }

    /// The verdict's answer, or that of a fault in reaching it.
    fn decide(&self, review: &Review, begun: Instant) -> Answer {
        let verdict = guarded(|| review.decide(&BTreeMap::new(), &self.options));
        let (decision, reason) = match &verdict {
            Ok(verdict) => (verdict.decision.as_str(), verdict.decision.reason()),
            Err(Panicked) => ("fault", "panic"),
        };
        let took = begun.elapsed();
        self.metrics.answered(decision, reason, took);
        let (namespace, pod, dry_run) = (review.namespace(), review.pod(), review.dry_run());
        match verdict {
            Ok(verdict) => {
                let warnings = verdict.warnings.len();
                tracing::info!(
                    namespace,
                    pod,
                    decision,
                    reason,
                    warnings,
                    dry_run,
                    ?took,
                    "answered"
                );
                review.answer(verdict)
            }
            Err(Panicked) => {
                tracing::error!(
                    namespace,
                    pod,
                    "panicked over a pod, which goes on as it is"
                );
                review.answer_to_fault(decision, reason)
            }
        }
    }
}

async fn answer(State(mutate): State<Mutate>, headers: HeaderMap, body: Body) -> Response {
    let begun = Instant::now();
    match mutate.review(&headers, body).await {
        Ok(review) => Json(mutate.decide(&review, begun)).into_response(),
        Err(refusal) => {
            let reason = refusal.as_str();
            mutate.metrics.answered("refuse", reason, begun.elapsed());
            tracing::warn!(error = %refusal, reason, "request refused");
            (refusal.status(), format!("{refusal}\n")).into_response()
        }
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.map(|given| String::from_utf8_lossy(given.as_bytes()).into_owned());
    let given = given.unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Refusal::ContentType(given))
    }
}

/// The heart panicked.
struct Panicked;

/// No bug of ours may keep a pod from starting.
fn guarded(decide: impl FnOnce() -> Verdict) -> Result<Verdict, Panicked> {
    // Unwind safe: what it borrows is read only, and what it made is gone.
    catch_unwind(AssertUnwindSafe(decide)).map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::SkipReason;

    #[test]
    fn a_panic_over_a_pod_is_a_fault_of_ours_and_not_the_end() {
        assert!(guarded(|| panic!("over a pod")).is_err());
        assert!(guarded(|| Verdict::skip(SkipReason::HostNetwork)).is_ok());
    }
}
