//! Judgements of pods that are there.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::LimitRange};
use netting_webhook::{asked_for, names::SidecarMode};
use serde_json::json;

use super::*;

fn namespace(labels: Value) -> Namespace {
    let namespace = json!({"metadata": {"name": "shop", "labels": labels}});
    serde_json::from_value(namespace).expect("a namespace")
}

fn pod(metadata: Value) -> Pod {
    let mut pod =
        json!({"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "app:1"}]}});
    pod["metadata"]["namespace"] = json!("shop");
    serde_json::from_value(pod).expect("a pod")
}

fn plain() -> Options {
    options_of(None, true).expect("the defaults agree with each other")
}

fn webhook(container: Value) -> Deployment {
    let deployment = json!({"metadata": {"name": "netting-webhook", "namespace": "mesh"},
        "spec": {"selector": {}, "template": {"spec": {"containers": [container]}}}});
    serde_json::from_value(deployment).expect("a Deployment")
}

#[test]
fn flags_that_this_version_does_not_know_are_refused() {
    let later = webhook(json!({"name": "webhook", "args": ["--from-the-future"]}));
    let refused = options_of(Some(&later), true).expect_err("there is no such flag");
    assert!(
        refused.to_string().contains("--from-the-future"),
        "{refused}"
    );
}

#[test]
fn options_are_those_of_the_webhook_that_runs() {
    let runs = webhook(json!({"name": "webhook",
        "args": ["--proxy-cpu-request=50m", "--sidecar-mode=classic"],
        "env": [
            {"name": "NETTING_IMAGE", "value": "example.org/netting:7"},
            {"name": "NETTING_PROXY_CPU_REQUEST", "value": "1"},
            {"name": "NETTING_REWRITE_HTTP_PROBES", "value": "true"},
            {"name": "NETTING_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "OTHER", "value": "x"}]}));
    let options = options_of(Some(&runs), true).expect("its flags are known");
    assert_eq!(options.image, "example.org/netting:7");
    assert_eq!(options.system_namespace, "mesh");
    assert_eq!(options.pod_defaults.mode, SidecarMode::Classic);
    assert!(options.pod_defaults.rewrite_http_probes);
    // A flag goes before a variable.
    assert_eq!(
        format!("{:?}", options.pod_defaults.cpu),
        format!("{:?}", {
            let flag = webhook(json!({"name": "webhook", "args": ["--proxy-cpu-request=50m"]}));
            options_of(Some(&flag), true)
                .expect("it is known")
                .pod_defaults
                .cpu
        })
    );
}

#[test]
fn a_pod_that_asks_and_has_none_is_missing_one_whoever_asks() {
    for (labels, own, asked_by) in [
        (json!({INJECT: "enabled"}), json!({}), AskedBy::Namespace),
        (json!({}), json!({INJECT: "true"}), AskedBy::Pod),
    ] {
        let judged = judge(
            &pod(json!({"labels": own})),
            &namespace(labels),
            &[],
            &plain(),
        );
        assert_eq!(
            (judged.standing, judged.asked_by),
            (Standing::Missing, asked_by)
        );
    }
}

#[test]
fn a_pod_that_gets_none_has_the_webhooks_own_reason() {
    let enabled = json!({INJECT: "enabled"});
    for (metadata, labels, reason) in [
        (json!({}), json!({}), SkipReason::NotAskedFor),
        (
            json!({"labels": {INJECT: "disabled"}}),
            enabled.clone(),
            SkipReason::OptedOutByLabel,
        ),
        (
            json!({"annotations": {INJECT: "false"}}),
            enabled,
            SkipReason::OptedOutByAnnotation,
        ),
    ] {
        let judged = judge(&pod(metadata), &namespace(labels), &[], &plain());
        assert_eq!(judged.standing, Standing::Skipped(reason));
    }
}

#[test]
fn an_injected_pod_keeps_the_warnings_of_its_own_annotations() {
    let asks = namespace(json!({INJECT: "enabled"}));
    let before = pod(json!({"annotations": {"netting.dev/opaque-ports": "0"}}));
    let mut raw = serde_json::to_value(&before).expect("JSON");
    let verdict = decide(&raw, &netting_webhook::Namespace::named("shop"), &plain());
    let Decision::Inject(patch) = verdict.decision else {
        panic!("nothing keeps it from being injected");
    };
    json_patch::patch(&mut raw, &patch).expect("it fits");
    let judged = judge(
        &serde_json::from_value(raw).expect("a pod"),
        &asks,
        &[],
        &plain(),
    );
    let Standing::Injected(sidecar) = judged.standing else {
        panic!("it has a sidecar: {judged:?}");
    };
    assert_eq!(
        (sidecar.mode.as_str(), sidecar.version.as_str()),
        ("native", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(judged.warnings, verdict.warnings);
    assert!(
        judged.warnings[0].contains("opaque-ports"),
        "{:?}",
        judged.warnings
    );
}

#[test]
fn who_asks_is_who_the_webhooks_selectors_let_through() {
    let values = ["enabled", "true", "disabled", "false", "yes", ""];
    for by_namespace in values {
        for by_pod in values {
            let labels: BTreeMap<String, String> =
                [(INJECT.to_owned(), by_namespace.to_owned())].into();
            let raw = raw(&pod(json!({"labels": {INJECT: by_pod}})));
            let view = View::read(&raw).expect("a pod");
            let lets_through = asked_for(&view, "shop", &labels, "netting");
            let asks = asked_by(&raw, &labels) != AskedBy::Nobody;
            let opted_out = lets_through == Err(SkipReason::OptedOutByLabel);
            assert_eq!(
                asks && !opted_out,
                lets_through.is_ok(),
                "{by_namespace} {by_pod}"
            );
        }
    }
}

#[test]
fn a_limit_range_of_its_own_namespace_is_a_reason() {
    let asks = namespace(json!({INJECT: "enabled"}));
    let range = |namespace: &str| -> LimitRange {
        let range = json!({"metadata": {"name": "small", "namespace": namespace},
            "spec": {"limits": [{"type": "Container", "max": {"memory": "4Mi"}}]}});
        serde_json::from_value(range).expect("it is a LimitRange")
    };
    let small = SkipReason::LimitRange { resource: "memory" };
    for (place, standing) in [
        ("shop", Standing::Skipped(small)),
        ("bank", Standing::Missing),
    ] {
        let judged = judge(&pod(json!({})), &asks, &[range(place)], &plain());
        assert_eq!(judged.standing, standing, "{place}");
    }
}
