//! Reviews that wait for what the API server says of their namespace: what they hold in
//! memory meanwhile is bounded, and who finds no room is told to ask again.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
};
use clap::Parser as _;
use http_body_util::BodyExt as _;
use netting_telemetry::{Metrics, admission::AdmissionMetrics};
use netting_webhook::{
    Args,
    mutate::Mutate,
    namespaces::{ASK_TIMEOUT, Namespaces},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::ServiceExt as _;

use api_server::ApiServer;

#[path = "cluster/api_server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod api_server;

/// So many bodies of 128 KiB have room at a time.
const AT_A_TIME: u32 = 256;
/// A body waits so long for it.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);
/// The API server waits so long altogether, by the webhook's configuration.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);

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

fn request() -> Request<Body> {
    let body = body();
    Request::post("/mutate")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::from(body))
        .expect("the request is well-formed")
}

/// Sends so many at once, and counts them by their status and how long they took.
async fn send(router: &Router, count: u32) -> Vec<(StatusCode, bool, Duration)> {
    let begun = Instant::now();
    let mut sent = JoinSet::new();
    for _ in 0..count {
        let answer = router.clone().oneshot(request());
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
    let first = send(&router, AT_A_TIME);
    let late = async {
        // Less than a second before the first ones have waited for long enough.
        sleep(ASK_TIMEOUT - ROOM_TIMEOUT / 2).await;
        send(&router, 1).await
    };
    let (first, late) = tokio::join!(first, late);
    for (status, _, took) in first.iter().chain(&late) {
        assert_eq!(*status, StatusCode::OK);
        assert!(*took < WEBHOOK_TIMEOUT, "nobody would hear of it");
    }
    let (.., took) = late[0];
    assert!(took > ASK_TIMEOUT, "it waits for one of the others first");
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_in_vain_is_injected_and_told_that_defaults_are_used() {
    let (router, _) = webhook();
    let response = router.oneshot(request()).await;
    let response = response.expect("the router never fails");
    let answer = response.into_body().collect().await.expect("it is whole");
    let answer: Value = serde_json::from_slice(&answer.to_bytes()).expect("it is JSON");
    assert_eq!(answer["response"]["allowed"], true);
    assert!(answer["response"]["patch"].is_string(), "it is injected");
    assert_eq!(
        answer["response"]["warnings"],
        json!(["netting: the namespace's options are not known; defaults are used"])
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_no_room_is_told_to_ask_again_and_counted() {
    let (router, metrics) = webhook();
    let answered = send(&router, AT_A_TIME + 1).await;
    let refused: Vec<_> = answered
        .iter()
        .filter(|(status, ..)| *status == StatusCode::TOO_MANY_REQUESTS)
        .collect();
    assert_eq!(refused.len(), 1, "the last one found no room in time");
    assert!(refused.iter().all(|(_, again, _)| *again));
    let series = r#"netting_admissions_total{decision="refuse",reason="busy"}"#;
    let exposed = metrics.expose();
    let counted = exposed.lines().find_map(|line| line.strip_prefix(series));
    let counted = counted.expect("they are counted").trim();
    assert_eq!(counted, refused.len().to_string());
}
