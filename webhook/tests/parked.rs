//! Reviews that wait for what the API server says of their namespace: what they hold in
//! memory meanwhile is bounded, and who finds no room is told to ask again.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
};
use clap::Parser as _;
use netting_telemetry::{Metrics, admission::AdmissionMetrics};
use netting_webhook::{
    Args,
    mutate::Mutate,
    namespaces::{ASK_TIMEOUT, Namespaces},
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};
use tower::ServiceExt as _;

use api_server::ApiServer;

#[path = "cluster/api_server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod api_server;

/// So many bodies of 128 KiB have room at a time.
const AT_A_TIME: u32 = 256;

/// A webhook whose API server never says anything about namespaces.
fn webhook() -> (Router, Metrics) {
    let server = ApiServer::default();
    server.lock().silent = true;
    let (namespaces, _not_polled) = Namespaces::follow(server.client());
    let args = Args::parse_from(["netting-webhook", "--pod-namespace=netting"]);
    let options = args.options().expect("the defaults agree with each other");
    let metrics = Metrics::new("webhook", "0");
    let mutate = Mutate {
        namespaces: Some(namespaces),
        ..Mutate::by(options, AdmissionMetrics::register(&metrics))
    };
    (mutate.into_router(), metrics)
}

/// As long as a short one gets.
fn body() -> Bytes {
    let review = |note: &str| {
        let review = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "1", "operation": "CREATE", "namespace": "shop",
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "object": {
                    "metadata": {"annotations": {"note": note}},
                    "spec": {"containers": [{"name": "app"}]},
                },
            },
        });
        review.to_string()
    };
    let note = "x".repeat(128 * 1024 - review("").len());
    review(&note).into()
}

/// Sends so many at once, and counts them by their status and how long they took.
async fn send(router: &Router, count: u32) -> Vec<(StatusCode, bool, Duration)> {
    let body = body();
    let begun = Instant::now();
    let mut sent = JoinSet::new();
    for _ in 0..count {
        let request = Request::post("/mutate")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len())
            .body(Body::from(body.clone()))
            .expect("the request is well-formed");
        let answer = router.clone().oneshot(request);
        sent.spawn(async move {
            let response = answer.await.expect("the router never fails");
            let again = response.headers().contains_key(header::RETRY_AFTER);
            (response.status(), again, begun.elapsed())
        });
    }
    sent.join_all().await
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_hold_the_room_of_those_that_come_after() {
    let (router, _) = webhook();
    let answered = send(&router, AT_A_TIME + 1).await;
    assert!(
        answered
            .iter()
            .all(|(status, ..)| *status == StatusCode::OK)
    );
    let late = answered.iter().filter(|(.., took)| *took > ASK_TIMEOUT);
    assert_eq!(late.count(), 1, "the last one waits for one of the others");
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_no_room_is_told_to_ask_again_and_counted() {
    let (router, metrics) = webhook();
    // As many as get room within a second, and one more.
    let rounds = u32::try_from(Duration::from_secs(1).as_millis() / ASK_TIMEOUT.as_millis());
    let rounds = 1 + rounds.expect("they are few");
    let answered = send(&router, (rounds + 1) * AT_A_TIME).await;
    let refused: Vec<_> = answered
        .iter()
        .filter(|(status, ..)| *status == StatusCode::TOO_MANY_REQUESTS)
        .collect();
    assert!(!refused.is_empty(), "some found no room");
    assert!(refused.iter().all(|(_, again, _)| *again));
    let series = r#"netting_admissions_total{decision="refuse",reason="busy"}"#;
    let exposed = metrics.expose();
    let counted = exposed.lines().find_map(|line| line.strip_prefix(series));
    let counted = counted.expect("they are counted").trim();
    assert_eq!(counted, refused.len().to_string());
}
