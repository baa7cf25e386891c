//! Who may do what: tokens, and the permissions of service accounts.

use netting_sandbox::api::Options;
use serde_json::{Value, json};

use crate::harness::{Harness, send};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

async fn token(harness: &Harness, account: &str, spec: Value) -> String {
    let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
    let made = harness.post(&path, json!({"spec": spec})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

#[tokio::test]
async fn strangers_are_told_to_say_who_they_are() {
    let harness = Harness::start(Options::default()).await;
    let other_audience = token(&harness, "default", json!({"audiences": ["netting"]})).await;
    for bad in ["garbage", "", &other_audience] {
        let client = harness.client_with_token(bad).await;
        let answer = send(&client, "GET", "/api/v1/pods", "", &Value::Null).await;
        assert_eq!(
            (answer.status, &answer.body["reason"]),
            (401, &json!("Unauthorized")),
            "{bad}"
        );
        assert_eq!(
            send(&client, "GET", "/healthz", "", &Value::Null)
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn whoever_asks_is_told_what_they_may_without_trying() {
    let harness = Harness::start(Options::default()).await;
    let robot = token(&harness, "default", json!({})).await;
    let robot = harness.client_with_token(&robot).await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = json!({"verb": "delete", "group": "apps", "resource": "deployments", "namespace": "default"});
    let review = json!({"spec": {"resourceAttributes": asked}});
    let json = "application/json";
    let answer = send(&robot, "POST", path, json, &review).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (201, &json!({"allowed": false}))
    );
    let answer = harness.post(path, review).await;
    assert_eq!(answer.body["status"], json!({"allowed": true}));
}

#[tokio::test]
async fn accounts_may_do_what_their_roles_say_and_no_more() {
    let harness = Harness::start(Options::default()).await;
    harness
        .post(
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": {"name": "robot"}}),
        )
        .await;
    let client = harness
        .client_with_token(&token(&harness, "robot", json!({})).await)
        .await;
    let pods = "/api/v1/namespaces/default/pods";
    let denied = send(&client, "GET", pods, "", &Value::Null).await;
    assert_eq!(denied.status, 403);
    assert_eq!(
        denied.body["message"],
        "pods is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
    harness
        .post(
            &format!("{RBAC}/namespaces/default/roles"),
            json!({"metadata": {"name": "r"}, "rules": rules}),
        )
        .await;
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]});
    harness
        .post(&format!("{RBAC}/namespaces/default/rolebindings"), binding)
        .await;
    assert_eq!(
        send(&client, "GET", pods, "", &Value::Null).await.status,
        200
    );
    for (method, path) in [
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/namespaces/default/pods?watch=1"),
        ("DELETE", pods),
    ] {
        assert_eq!(
            send(&client, method, path, "", &Value::Null).await.status,
            403,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_token_dies_with_the_pod_it_is_bound_to() {
    let harness = Harness::start(Options::default()).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    harness.post(pods, pod).await;
    let bound = json!({"audiences": ["netting"], "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}});
    let token = token(&harness, "default", bound.clone()).await;
    let review = json!({"spec": {"token": token, "audiences": ["netting"]}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let alive = harness.post(path, review.clone()).await.body;
    assert_eq!(
        alive["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"],
        json!(["p"])
    );
    harness.delete(&format!("{pods}/p")).await;
    let dead = harness.post(path, review).await.body;
    assert_eq!(
        dead["status"]["error"],
        "[invalid bearer token, service account token has been invalidated]"
    );
    let missing = harness
        .post(
            "/api/v1/namespaces/default/serviceaccounts/default/token",
            json!({"spec": bound}),
        )
        .await;
    assert_eq!(missing.status, 404, "{}", missing.body);
    let short = json!({"spec": {"expirationSeconds": 60}});
    assert_eq!(
        harness
            .post(
                "/api/v1/namespaces/default/serviceaccounts/default/token",
                short
            )
            .await
            .status,
        422
    );
}
