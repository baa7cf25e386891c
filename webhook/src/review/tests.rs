//! Bodies in, refusals and answers out. The recorded requests of a real API
//! server are in `tests/golden.rs`.

use serde_json::json;

use super::*;

fn review(request: Value) -> Value {
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request})
}

fn parse(body: &Value) -> Result<Review, Malformed> {
    Review::parse(&serde_json::to_vec(body).expect("a value is JSON"))
}

fn pod_creation() -> Value {
    json!({
        "uid": "u-1",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "shop",
        "operation": "CREATE",
        "object": {"spec": {"containers": [{"name": "app"}]}},
    })
}

#[test]
fn refuses_what_is_no_review_and_says_why() {
    for body in [
        "",
        "{",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{\"request\": 1}",
        "\u{0}",
    ] {
        let refused = Review::parse(body.as_bytes()).expect_err("it is no review");
        assert!(!refused.to_string().is_empty());
    }
    for (body, says) in [
        (json!({}), "expected kind AdmissionReview"),
        (
            json!({"kind": "Pod", "apiVersion": "v1"}),
            r#"got kind "Pod" of "v1""#,
        ),
        (
            json!({"kind": "AdmissionReview", "apiVersion": "v1"}),
            r#"got kind "AdmissionReview" of "v1""#,
        ),
        (review(json!(null)), "has no request"),
        (review(json!({})), "without a uid"),
        (review(json!({"uid": ""})), "without a uid"),
        (review(json!({"uid": 5})), "expected a string"),
    ] {
        let refused = parse(&body).expect_err("it is no review");
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

#[test]
fn endless_nesting_is_refused_not_followed() {
    let deep = "[".repeat(100_000);
    assert!(matches!(
        Review::parse(deep.as_bytes()),
        Err(Malformed::Json(_))
    ));
}

#[test]
fn anything_but_the_creation_of_a_pod_is_left_alone() {
    let options = crate::test_options();
    for (field, value) in [
        ("operation", json!("UPDATE")),
        ("operation", json!("DELETE")),
        ("operation", json!(null)),
        ("subResource", json!("ephemeralcontainers")),
        (
            "resource",
            json!({"group": "apps", "version": "v1", "resource": "deployments"}),
        ),
        (
            "resource",
            json!({"group": "", "version": "v2", "resource": "pods"}),
        ),
        ("resource", json!(null)),
    ] {
        let mut request = pod_creation();
        request[field] = value;
        let review = parse(&review(request)).expect("it is a review");
        let decision = review.decide(&Known::default(), &options).decision;
        assert_eq!(
            decision,
            Decision::Skip(SkipReason::NotAPodCreation),
            "{field}"
        );
    }
}

#[test]
fn the_answer_echoes_uid_and_version_and_carries_the_patch() {
    let mut body = review(pod_creation());
    body["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let review = parse(&body).expect("it is a review");
    let verdict = review.decide(&Known::default(), &crate::test_options());
    let Decision::Inject(patch) = verdict.decision.clone() else {
        panic!("nothing keeps this pod from being injected");
    };
    let answer = serde_json::to_value(review.answer(verdict)).expect("an answer is JSON");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1beta1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = &answer["response"];
    assert_eq!(response["uid"], "u-1");
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    assert_eq!(
        response["auditAnnotations"],
        json!({"decision": "inject", "reason": "requested"})
    );
    let encoded = response["patch"].as_str().expect("the patch is text");
    let decoded = STANDARD.decode(encoded).expect("the patch is base64");
    let decoded: json_patch::Patch = serde_json::from_slice(&decoded).expect("the patch is JSON");
    assert_eq!(decoded, patch);
}

#[test]
fn a_skipped_pod_and_a_fault_both_allow_without_a_patch() {
    let mut request = pod_creation();
    request["object"]["spec"]["hostNetwork"] = json!(true);
    let review = parse(&review(request)).expect("it is a review");
    let skipped = review.answer(review.decide(&Known::default(), &crate::test_options()));
    let skipped = serde_json::to_value(skipped).expect("an answer is JSON");
    assert_eq!(
        skipped["response"],
        json!({
            "uid": "u-1",
            "allowed": true,
            "warnings": ["netting: pod not injected: it uses the host's network"],
            "auditAnnotations": {"decision": "skip", "reason": "host_network"},
        })
    );
    let fault = review.answer_to_fault("fault", "panic");
    let fault = serde_json::to_value(fault).expect("an answer is JSON");
    assert_eq!(fault["response"]["allowed"], true);
    assert_eq!(fault["response"].get("patch"), None);
    assert_eq!(
        fault["response"]["warnings"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn the_namespace_is_found_without_the_pod_and_in_no_garbage() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"request": null}"#,
        r#"{"request": {"namespace": 7}}"#,
    ] {
        assert_eq!(namespace_in(body.as_bytes()), "", "{body}");
    }
    let body = review(pod_creation()).to_string();
    assert_eq!(namespace_in(body.as_bytes()), "shop");
}
