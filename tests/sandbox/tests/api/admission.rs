//! Admission webhooks, against a real HTTPS server: who is asked, and what becomes of the answers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::webhook::{
    HOOKS, PODS, cluster, configuration, configure, create_pod, dead_ends, patching, tls_server,
    webhook,
};

#[tokio::test]
async fn a_webhook_that_fails_is_ignored_or_obeyed_as_its_policy_says() {
    let (closed, (silent, _listener)) = dead_ends().await;
    let broken = tls_server(|_| (500, "on fire".to_owned())).await;
    let confused = tls_server(|_| (200, "{}".to_owned())).await;
    let chatty = tls_server(|_| (200, "not json".to_owned())).await;
    let mut stranger = tls_server(|_| (200, "{}".to_owned())).await;
    stranger.certificate = closed.certificate.clone();
    for (server, why) in [
        (&closed, "Connection refused"),
        (&silent, "context deadline exceeded"),
        (&broken, "the server answered 500"),
        (&confused, "received invalid webhook response"),
        (&chatty, "the answer is not JSON"),
        (&stranger, "invalid peer certificate"),
    ] {
        let harness = cluster(
            server,
            json!({"failurePolicy": "Fail", "timeoutSeconds": 1}),
        )
        .await;
        let refused = create_pod(&harness, json!({"name": "p"})).await;
        assert_eq!(
            (refused.status, &refused.body["reason"]),
            (500, &json!("InternalError")),
            "{}",
            refused.body
        );
        let message = refused.body["message"].as_str().expect("a message");
        assert!(
            message.starts_with(
                "Internal error occurred: failed calling webhook \"hook.netting.dev\": "
            ),
            "{message}"
        );
        assert!(message.contains(why), "{message} should say {why}");
        let lenient = json!({"webhooks": configuration("hook", server, json!({"failurePolicy": "Ignore", "timeoutSeconds": 1}))["webhooks"]});
        harness.patch(&format!("{HOOKS}/hook"), lenient).await;
        let started = Instant::now();
        assert_eq!(
            create_pod(&harness, json!({"name": "p"})).await.status,
            201,
            "{why}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "the timeout is the webhook's own"
        );
    }
}

#[tokio::test]
async fn a_webhook_may_refuse_with_its_own_words() {
    let denial = json!({"allowed": false, "status": {"code": 418, "message": "no pods today"}, "warnings": ["mind \"this\""]});
    let (server, _) = webhook(denial).await;
    let harness = cluster(&server, json!({})).await;
    let refused = create_pod(&harness, json!({"name": "p"})).await;
    assert_eq!(refused.status, 418);
    assert_eq!(
        refused.body["message"],
        "admission webhook \"hook.netting.dev\" denied the request: no pods today"
    );
}

#[tokio::test]
async fn a_patch_that_cannot_be_used_refuses_the_pod_whatever_the_policy() {
    for operations in [
        json!([{"op": "remove", "path": "/spec/nothing"}]),
        json!([{"op": "add", "path": "/spec/containers", "value": "none"}]),
    ] {
        let (server, _) = webhook(patching(&operations)).await;
        let harness = cluster(&server, json!({"failurePolicy": "Ignore"})).await;
        assert_eq!(
            create_pod(&harness, json!({"name": "p"})).await.status,
            500,
            "{operations}"
        );
    }
    let (server, _) = webhook(patching(
        &json!([{"op": "remove", "path": "/spec/containers/0/image"}]),
    ))
    .await;
    let harness = cluster(&server, json!({"failurePolicy": "Ignore"})).await;
    assert_eq!(
        create_pod(&harness, json!({"name": "p"})).await.status,
        422,
        "what was patched is checked again"
    );
}

#[tokio::test]
async fn what_a_webhook_adds_gets_its_defaults_and_its_warnings_arrive() {
    let operations = json!([{"op": "add", "path": "/spec/initContainers", "value": [{"name": "i", "image": "i:1"}]},
        {"op": "add", "path": "/metadata/labels", "value": {"netting.dev/injected": "true"}}]);
    let mut response = patching(&operations);
    response["warnings"] = json!(["mind the \"gap\""]);
    let (server, _) = webhook(response).await;
    let harness = cluster(&server, json!({})).await;
    let made = create_pod(&harness, json!({"name": "p"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.headers["warning"], "299 - \"mind the \\\"gap\\\"\"");
    let (spec, added) = (&made.body["spec"], &made.body["spec"]["initContainers"][0]);
    assert_eq!(added["terminationMessagePolicy"], "File");
    // The plugin for service accounts has looked once more, and found its own volume.
    assert_eq!(added["volumeMounts"], spec["containers"][0]["volumeMounts"]);
    assert_eq!(spec["volumes"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        made.body["metadata"]["labels"]["netting.dev/injected"],
        "true"
    );
}

#[tokio::test]
async fn only_what_selectors_and_conditions_choose_is_sent() {
    let (server, seen) = webhook(json!({"allowed": true})).await;
    let changes = json!({
        "namespaceSelector": {"matchLabels": {"netting.dev/inject": "enabled"}},
        "objectSelector": {"matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]},
        "matchConditions": [
            {"name": "not-host-network", "expression": "!has(object.spec.hostNetwork) || !object.spec.hostNetwork"},
            {"name": "not-annotated", "expression": "object.metadata.?annotations[?'skip'].orValue('') != 'yes'"},
            {"name": "by-anybody", "expression": "request.userInfo.username != '' && request.operation == 'CREATE'"}],
    });
    let harness = cluster(&server, changes).await;
    create_pod(&harness, json!({"name": "a"})).await;
    assert_eq!(seen.lock().len(), 0, "the namespace isn't labelled");
    harness
        .patch(
            "/api/v1/namespaces/edge",
            json!({"metadata": {"labels": {"netting.dev/inject": "enabled"}}}),
        )
        .await;
    create_pod(&harness, json!({"name": "b", "labels": {"off": ""}})).await;
    create_pod(
        &harness,
        json!({"name": "c", "annotations": {"skip": "yes"}}),
    )
    .await;
    let spec = json!({"hostNetwork": true, "containers": [{"name": "a", "image": "a"}]});
    harness
        .post(PODS, json!({"metadata": {"name": "d"}, "spec": spec}))
        .await;
    harness
        .post(
            "/api/v1/namespaces/edge/configmaps",
            json!({"metadata": {"name": "m"}}),
        )
        .await;
    assert_eq!(seen.lock().len(), 0, "all of these were passed over");
    create_pod(&harness, json!({"name": "e"})).await;
    create_pod(
        &harness,
        json!({"name": "f", "annotations": {"skip": "no"}}),
    )
    .await;
    harness
        .patch(
            &format!("{PODS}/f"),
            json!({"metadata": {"labels": {"x": "y"}}}),
        )
        .await;
    assert_eq!(seen.lock().len(), 2, "an update isn't a creation");
}

#[tokio::test]
async fn a_condition_that_cannot_be_told_counts_as_a_failure() {
    let (server, seen) = webhook(json!({"allowed": true})).await;
    let conditions =
        json!([{"name": "broken", "expression": "object.metadata.nothing.here == 'x'"}]);
    let harness = cluster(
        &server,
        json!({"failurePolicy": "Fail", "matchConditions": conditions}),
    )
    .await;
    assert_eq!(create_pod(&harness, json!({"name": "p"})).await.status, 403);
    let lenient = configuration(
        "hook",
        &server,
        json!({"failurePolicy": "Ignore", "matchConditions": conditions}),
    );
    harness
        .patch(
            &format!("{HOOKS}/hook"),
            json!({"webhooks": lenient["webhooks"]}),
        )
        .await;
    assert_eq!(create_pod(&harness, json!({"name": "p"})).await.status, 201);
    assert_eq!(seen.lock().len(), 0);
}

#[tokio::test]
async fn a_webhook_is_asked_again_if_a_later_one_changed_the_pod() {
    let (first, seen) = webhook(json!({"allowed": true})).await;
    let label = json!([{"op": "add", "path": "/metadata/labels", "value": {"late": "1"}}]);
    let (second, _) = webhook(patching(&label)).await;
    let harness = cluster(&first, json!({"reinvocationPolicy": "IfNeeded"})).await;
    create_pod(&harness, json!({"name": "a"})).await;
    assert_eq!(seen.lock().len(), 1, "nothing changed after it");
    configure(&harness, "later", &second, json!({})).await;
    create_pod(&harness, json!({"name": "b"})).await;
    let seen = seen.lock();
    assert_eq!(seen.len(), 3);
    assert_eq!(
        seen[2].body()["request"]["object"]["metadata"]["labels"]["late"],
        "1"
    );
}
