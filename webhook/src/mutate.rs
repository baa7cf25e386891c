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
    http::{HeaderMap, header},
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
    review::{Answer, Review, namespace_in},
};

mod body;
mod refusal;

use body::Bodies;
use refusal::Refusal;

/// Names of namespaces are DNS labels (RFC 1123). About others nobody is asked.
const NAMESPACE_BYTES_MAX: usize = 63;

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
            Some(namespaces) if (1..=NAMESPACE_BYTES_MAX).contains(&namespace.len()) => {
                namespaces.known(namespace).await
            }
            _ => Known::default(),
        }
    }

    /// The verdict's answer, or that of a fault in reaching it.
    fn decide(&self, review: &Review, known: &Known, begun: Instant, work: &mut Work) -> Answer {
        let options = Arc::clone(&self.options.borrow());
        let (deciding, patching) = (Instant::now(), work.part("decide and patch"));
        let verdict = guarded(|| review.decide(known, &options));
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
    async fn admit(
        &self,
        headers: &HeaderMap,
        body: Body,
        begun: Instant,
        work: &mut Work,
    ) -> Result<Answer, Refusal> {
        require_json(headers)?;
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let reading = work.part("read body");
        let read = self.bodies.read(length, body).await;
        reading.end();
        let body = read?;
        // The API server may take its time to say what is known of the namespace. Until
        // then there is no more in memory than the body's text.
        let looking_up = work.part("look up namespace");
        let known = self.mutate.known(&namespace_in(&body.bytes)).await;
        looking_up.end();
        let _turn = body.turn().await?;
        let parsing = work.part("parse review");
        let review = Review::parse_counted(&body.bytes);
        parsing.end();
        Ok(self.mutate.decide(&review?, &known, begun, work))
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let begun = Instant::now();
    let mut work = service.route.begin(&request);
    let (head, body) = request.into_parts();
    let admitted = service.admit(&head.headers, body, begun, &mut work).await;
    let response = match admitted {
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => {
            let (decision, reason) = ("refuse", refusal.as_str());
            let metrics = &service.mutate.metrics;
            metrics.answered(decision, reason, begun.elapsed());
            work.note(DECISION, decision);
            work.note(REASON, reason);
            tracing::warn!(error = %refusal, reason, "request refused");
            refusal.into_response()
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
