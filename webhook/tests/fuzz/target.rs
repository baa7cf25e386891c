//! What must hold for every request that anybody can send: an HTTP 4xx, or an answer
//! that allows. Never a fault of the webhook's own, and a patch that fits.

use axum::{
    Router,
    body::Body,
    http::{Request, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser as _;
use http_body_util::BodyExt as _;
use netting_telemetry::{Metrics, admission::AdmissionMetrics};
use netting_webhook::{Args, mutate::Mutate};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// The real routes, without TLS.
pub(crate) struct Target {
    runtime: Runtime,
    router: Router,
}

impl Target {
    pub(crate) fn new() -> Self {
        let args = Args::parse_from(["netting-webhook", "--pod-namespace=netting"]);
        let options = args.options().expect("the defaults agree with each other");
        let metrics = AdmissionMetrics::register(&Metrics::new("webhook", "0"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        Self {
            runtime: runtime.expect("a runtime of one thread needs nothing"),
            router: Mutate::by(options, metrics).into_router(),
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If the answer is not what it must be.
    pub(crate) fn send(&self, body: &[u8]) {
        let (status, answer) = self.answer(body.to_vec());
        if !(400..500).contains(&status) {
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
            allows(&answer);
        }
    }

    /// Sends JSON in the place of a pod.
    ///
    /// # Panics
    /// If the answer is not what it must be.
    pub(crate) fn create(&self, object: &Value) {
        let review = json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "1",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": "shop",
                "operation": "CREATE",
                "object": object,
            },
        });
        let (status, answer) = self.answer(review.to_string().into_bytes());
        if (400..500).contains(&status) {
            return;
        }
        assert_eq!(status, 200, "{object}");
        let answer = allows(&answer);
        if let Some(patch) = answer["response"]["patch"].as_str() {
            let patch = STANDARD.decode(patch).expect("a patch is base64");
            let patch: json_patch::Patch =
                serde_json::from_slice(&patch).expect("a patch is a JSON patch");
            let mut pod = object.clone();
            json_patch::patch(&mut pod, &patch).unwrap_or_else(|error| panic!("{error}: {object}"));
        }
    }

    fn answer(&self, body: Vec<u8>) -> (u16, Vec<u8>) {
        let request = Request::post("/mutate")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .expect("the request is well-formed");
        self.runtime.block_on(async {
            let answered = self.router.clone().oneshot(request).await;
            let response = answered.unwrap_or_else(|never| match never {});
            let status = response.status().as_u16();
            let body = response.into_body().collect().await;
            (status, body.expect("it is in memory").to_bytes().to_vec())
        })
    }
}

fn allows(answer: &[u8]) -> Value {
    let answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
    let response = &answer["response"];
    assert_eq!(response["allowed"], true, "{answer}");
    let decision = &response["auditAnnotations"]["decision"];
    assert_ne!(decision, "fault", "it has panicked: {answer}");
    answer
}
