use serde_json::json;

use super::*;
use crate::api::{defaults, resources};

fn refusals(api_version: &str, kind: &str, mut object: Value) -> String {
    let resource = resources::of_kind(api_version, kind).expect("served");
    defaults::apply(resource, &mut object);
    match check(resource, &object, None) {
        Ok(()) => String::new(),
        Err(status) => status.message,
    }
}

fn pod(container: Value) -> Value {
    json!({"metadata": {"name": "x"}, "spec": {"containers": [container]}})
}

#[test]
fn refuses_broken_pods_naming_the_field() {
    for (container, field) in [
        (
            json!({"image": "a"}),
            "spec.containers[0].name: Required value",
        ),
        (
            json!({"name": "A", "image": "a"}),
            "spec.containers[0].name: Invalid value: \"A\"",
        ),
        (
            json!({"name": "a"}),
            "spec.containers[0].image: Required value",
        ),
        (
            json!({"name": "a", "image": "a", "ports": [{"containerPort": 0}]}),
            "spec.containers[0].ports[0].containerPort",
        ),
        (
            json!({"name": "a", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
            "volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            json!({"name": "a", "image": "a", "livenessProbe": {}}),
            "livenessProbe: Required value: must specify a handler type",
        ),
        (
            json!({"name": "a", "image": "a", "env": [{"value": "1"}]}),
            "env[0].name: Required value",
        ),
    ] {
        let found = refusals("v1", "Pod", pod(container));
        assert!(found.contains(field), "{found} should name {field}");
    }
    assert!(
        refusals("v1", "Pod", json!({"metadata": {"name": "x"}, "spec": {}}))
            .contains("spec.containers: Required value")
    );
    let twins = json!([{"name": "a", "image": "a"}, {"name": "a", "image": "b"}]);
    let found = refusals(
        "v1",
        "Pod",
        json!({"metadata": {"name": "x"}, "spec": {"containers": twins}}),
    );
    assert!(
        found.contains("spec.containers[1].name: Duplicate value: \"a\""),
        "{found}"
    );
}

#[test]
fn refuses_cron_jobs_that_are_never_due_or_begin_no_jobs() {
    let refused = |name: &str, changes: Value| {
        let pod = json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]});
        let job = json!({"spec": {"template": {"spec": pod}}});
        let mut spec = json!({"schedule": "0 3 * * *", "jobTemplate": job});
        json_patch::merge(&mut spec, &changes);
        let object = json!({"metadata": {"name": name}, "spec": spec});
        refusals("batch/v1", "CronJob", object)
    };
    assert_eq!(refused(&"n".repeat(52), json!({})), "");
    let long = refused(&"n".repeat(53), json!({}));
    assert!(
        long.contains("must be no more than 52 characters"),
        "{long}"
    );
    let always = json!({"spec": {"template": {"spec": {"restartPolicy": "Always"}}}});
    for (changes, field) in [
        (json!({"schedule": null}), "spec.schedule: Required value"),
        (
            json!({"schedule": "hourly"}),
            "spec.schedule: Invalid value: \"hourly\": expected exactly 5 fields, found 1: [hourly]",
        ),
        (
            json!({"timeZone": "Europe/Vienna"}),
            "spec.timeZone: Invalid value",
        ),
        (
            json!({"concurrencyPolicy": "Never"}),
            "spec.concurrencyPolicy: Unsupported value: \"Never\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
        ),
        (
            json!({"failedJobsHistoryLimit": -1}),
            "spec.failedJobsHistoryLimit: Invalid value: -1",
        ),
        (
            json!({"jobTemplate": always}),
            "spec.jobTemplate.spec.template.spec.restartPolicy: Unsupported value: \"Always\"",
        ),
    ] {
        let found = refused("nightly", changes);
        assert!(found.contains(field), "{found} should say {field}");
    }
}

#[test]
fn only_native_sidecars_among_init_containers_have_probes() {
    let probe = json!({"exec": {"command": ["x"]}});
    let mut object = pod(json!({"name": "a", "image": "a"}));
    object["spec"]["initContainers"] = json!([{"name": "i", "image": "i", "startupProbe": probe}]);
    assert!(
        refusals("v1", "Pod", object.clone())
            .contains("spec.initContainers[0].startupProbe: Forbidden")
    );
    object["spec"]["initContainers"][0]["restartPolicy"] = "Always".into();
    assert_eq!(refusals("v1", "Pod", object), "");
}

#[test]
fn refuses_changes_of_a_running_pod_but_for_its_images() {
    let resource = resources::core("pods");
    let mut old = pod(json!({"name": "a", "image": "a"}));
    defaults::apply(resource, &mut old);
    let mut image = old.clone();
    image["spec"]["containers"][0]["image"] = "b".into();
    assert!(check(resource, &image, Some(&old)).is_ok());
    let mut command = old.clone();
    command["spec"]["containers"][0]["command"] = json!(["x"]);
    let refused = check(resource, &command, Some(&old)).expect_err("commands stay");
    assert!(
        refused
            .message
            .contains("pod updates may not change fields other than")
    );
}

#[test]
fn refuses_workloads_whose_selector_misses_their_pods() {
    let template = json!({"metadata": {"labels": {"app": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let spec = json!({"selector": {"matchLabels": {"app": "a"}}, "template": template});
    let found = refusals(
        "apps/v1",
        "Deployment",
        json!({"metadata": {"name": "d"}, "spec": spec}),
    );
    assert!(
        found.contains("`selector` does not match template `labels`"),
        "{found}"
    );
}

#[test]
fn refuses_addresses_that_are_none() {
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}]});
    assert!(
        refusals("discovery.k8s.io/v1", "EndpointSlice", slice)
            .contains("endpoints[0].addresses[0]")
    );
}

#[test]
fn refuses_webhooks_nobody_could_call() {
    let hook = json!({"name": "short", "clientConfig": {}, "matchConditions": [{"name": "c", "expression": "object."}]});
    let object = json!({"metadata": {"name": "w"}, "webhooks": [hook]});
    let found = refusals(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        object,
    );
    for field in [
        "name: Invalid",
        "admissionReviewVersions: Required",
        "sideEffects: Unsupported",
        "clientConfig: Required",
        "expression: Invalid",
    ] {
        assert!(found.contains(field), "{found} should name {field}");
    }
}

#[test]
fn refuses_labels_that_are_none() {
    let metadata = json!({"name": "x", "labels": {"a b": "1", "ok": "-"}});
    let found = refusals("v1", "ConfigMap", json!({"metadata": metadata}));
    assert_eq!(
        found.matches("metadata.labels: Invalid value").count(),
        2,
        "{found}"
    );
}
