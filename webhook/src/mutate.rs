//! `POST /mutate`: from an HTTP request to a verdict, and the refusals on the way.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use netting_telemetry::{
    admission::AdmissionMetrics,
    trace::{Tracer, Work, served::Route},
};
use tokio::sync::watch;

use crate::{
    decision::Verdict,
    events::Events,
    namespaces::{Known, Namespaces},
    options::Options,
    review::{Answer, Malformed, Review},
};

mod body;

use body::{BODY_BYTES_MAX, BODY_TIMEOUT, Bodies, Turn};

/// Where the API server's questions come in.
const PATH: &str = "/mutate";

/// What a request is answered with.
#[derive(Clone)]
pub struct Mutate {
    /// How pods are injected. They follow the API server's version.
    pub options: watch::Receiver<Arc<Options>>,
    /// Where answers are counted.
    pub metrics: AdmissionMetrics,
    /// Whose annotations count too; without, there are none.
    pub namespaces: Option<Namespaces>,
    /// What else becomes of warnings, which few people see.
    pub events: Option<Events>,
    /// What begins the spans of requests, if they are sent to anybody.
    pub tracer: Option<Tracer>,
}

#[derive(Clone)]
struct Service {
    route: Route,
    mutate: Mutate,
    bodies: Arc<Bodies>,
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
    /// That knows nothing of a cluster.
    #[must_use]
    pub fn by(options: Options, metrics: AdmissionMetrics) -> Self {
        Self {
            options: watch::channel(Arc::new(options)).1,
            metrics,
            namespaces: None,
            events: None,
            tracer: None,
        }
    }

    /// The route that answers.
    pub fn into_router(self) -> Router {
        let route = Route {
            tracer: self.tracer.clone(),
            path: PATH,
            scheme: "https",
        };
        let service = Service {
            route,
            mutate: self,
            bodies: Arc::new(Bodies::new()),
        };
        Router::new().route(PATH, post(answer)).with_state(service)
    }

    async fn known(&self, namespace: &str) -> Known {
        match &self.namespaces {
            Some(namespaces) if !namespace.is_empty() => namespaces.known(namespace).await,
            _ => Known::default(),
        }
    }

    /// The verdict's answer, or that of a fault in reaching it.
    async fn decide(&self, review: &Review, begun: Instant, work: &mut Work) -> Answer {
        let looking_up = work.part("look up namespace");
        let known = self.known(review.namespace()).await;
        looking_up.end();
        let options = Arc::clone(&self.options.borrow());
        let (deciding, patching) = (Instant::now(), work.part("decide and patch"));
        let verdict = guarded(|| review.decide(&known, &options));
        patching.end();
        self.metrics.decided(deciding.elapsed());
        let (decision, reason) = match &verdict {
            Ok(verdict) => (verdict.decision.as_str(), verdict.decision.reason()),
            Err(Panicked) => ("fault", "panic"),
        };
        let took = begun.elapsed();
        self.metrics.answered(decision, reason, took);
        let (namespace, pod, dry_run) = (review.namespace(), review.pod(), review.dry_run());
        tell(review, decision, reason, work);
        match verdict {
            Ok(verdict) => {
                tracing::info!(
                    namespace,
                    pod,
                    decision,
                    reason,
                    warnings = ?verdict.warnings,
                    dry_run,
                    ?took,
                    "answered"
                );
                if let Some(events) = &self.events {
                    events.tell(review, &verdict);
                }
                work.note("netting.admission.warnings", verdict.warnings.len());
                let writing = work.part("write patch");
                let answer = review.answer(verdict);
                writing.end();
                answer
            }
            Err(Panicked) => {
                tracing::error!(
                    namespace,
                    pod,
                    "panicked over a pod, which goes on as it is"
                );
                work.fail(reason);
                review.answer_to_fault(decision, reason)
            }
        }
    }
}

impl Service {
    async fn review(
        &self,
        headers: &HeaderMap,
        body: Body,
        work: &Work,
    ) -> Result<(Review, Turn<'_>), Refusal> {
        require_json(headers)?;
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let reading = work.part("read body");
        let read = self.bodies.read(length, body).await;
        reading.end();
        let (body, turn) = read?;
        let parsing = work.part("parse review");
        let review = Review::parse(&body);
        parsing.end();
        Ok((review?, turn))
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let begun = Instant::now();
    let mut work = service.route.begin(&request);
    let (head, body) = request.into_parts();
    let response = match service.review(&head.headers, body, &work).await {
        Ok((review, _turn)) => {
            let answer = service.mutate.decide(&review, begun, &mut work).await;
            Json(answer).into_response()
        }
        Err(refusal) => {
            let (decision, reason) = ("refuse", refusal.as_str());
            let metrics = &service.mutate.metrics;
            metrics.answered(decision, reason, begun.elapsed());
            work.note(DECISION, decision);
            work.note(REASON, reason);
            tracing::warn!(error = %refusal, reason, "request refused");
            (refusal.status(), format!("{refusal}\n")).into_response()
        }
    };
    work.answered(response.status());
    work.end();
    response
}

const DECISION: &str = "netting.admission.decision";
const REASON: &str = "netting.admission.reason";

/// What the span of an admission says, beside that of any request.
fn tell(review: &Review, decision: &'static str, reason: &'static str, work: &mut Work) {
    work.note(DECISION, decision);
    work.note(REASON, reason);
    work.note_text("netting.admission.namespace", review.namespace());
    work.note_text("netting.admission.pod", review.pod());
    work.note_text("netting.admission.uid", review.uid());
    if review.dry_run() {
        work.note("netting.admission.dry_run", "true");
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
