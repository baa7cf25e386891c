//! What is left of what nobody should hand on.

use serde_json::json;

use super::*;

#[test]
fn of_applications_only_the_shape_is_left() {
    let mut pod = json!({
        "kind": "Pod",
        "metadata": {
            "managedFields": [{"manager": "me"}],
            "annotations": {"netting.dev/log-level": "debug", "netting.dev/telemetry": "otlp=http://c;token=hunter2",
                            "vault/token": "hunter2"},
        },
        "spec": {"containers": [
            {"name": "app", "command": ["run", "hunter2"], "args": ["hunter2"],
             "env": [{"name": "NETTING_LOG", "value": "hunter2"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s"}}}],
             "livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "a", "value": "hunter2"}]}},
             "lifecycle": {"preStop": {"exec": {"command": ["hunter2"]}}}},
            {"name": "netting-sidecar", "command": ["/bin/sh", "hunter2"]},
            {"name": "netting-sidecar", "command": ["/netting/netting-sidecar"], "args": ["--admin-port=15020"],
             "env": [{"name": "NETTING_LOG", "value": "info"}, {"name": "NETTING_OTLP_HEADERS", "value": "hunter2"},
                     {"name": "OTEL_EXPORTER_OTLP_HEADERS", "value": "hunter2"}]},
        ]},
    });
    object(&mut pod);
    let text = pod.to_string();
    assert!(
        !text.contains("hunter2") && !text.contains("managedFields"),
        "{text}"
    );
    for kept in [
        "debug",
        "--admin-port=15020",
        "\"info\"",
        "secretKeyRef",
        "vault/token",
    ] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    let mut list = json!({"items": [{"kind": "Secret", "data": {"a": "aHVudGVyMg=="}, "stringData": {"b": "hunter2"}}]});
    object(&mut list);
    let text = list.to_string();
    assert!(
        !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
        "{text}"
    );
}

#[test]
fn what_people_hide_in_other_places_is_found_there() {
    let mut pod = json!({
        "kind": "Pod",
        "metadata": {"annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{\"env\":\"hunter2\"}",
            "netting.dev/telemetry": "otlp=http://me:hunter2@collector:4317"}},
        "spec": {
            "containers": [{"name": "app", "image": "registry/app:1.2@sha256:0", "envFrom": [{"secretRef": {"name": "kept"}}],
                "readinessProbe": {"httpGet": {"path": "/ready?access_token=hunter2"}},
                "startupProbe": {"exec": {"command": ["check", "hunter2"]}},
                "lifecycle": {"postStart": {"httpGet": {"httpHeaders": [{"name": "a", "value": "hunter2"}]}}}}],
            "initContainers": [{"name": "init", "args": ["hunter2"], "env": [{"name": "A", "value": "hunter2"}]}],
            "ephemeralContainers": [{"name": "debug", "command": ["hunter2"]}],
            "volumes": [{"name": "v", "csi": {"driver": "d", "volumeAttributes": {"password": "hunter2"}}},
                {"name": "w", "flexVolume": {"driver": "d", "options": {"a": "hunter2"}}}]},
        "status": {"containerStatuses": [{"name": "app", "state": {"waiting": {"message": "exec: PASSWORD=hunter2: not found"}}}]},
    });
    object(&mut pod);
    let text = pod.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    for kept in [
        "registry/app:1.2@sha256:0",
        "\"kept\"",
        "http://<redacted>@collector:4317",
    ] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
}

#[test]
fn applications_words_are_not_handed_on_and_nettings_own_are() {
    let ended = |name: &str| {
        json!({"name": name, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "of hunter2"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "the last words: hunter2"}}})
    };
    let mut pod = json!({
        "spec": {
            "containers": [{"name": "app"}, {"name": "catalog", "command": ["run"]}],
            "initContainers": [{"name": "netting-init", "command": ["/netting/netting-iptables-init"]}]},
        "status": {
            "containerStatuses": [ended("app"), ended("catalog")],
            "ephemeralContainerStatuses": [ended("debug")],
            "initContainerStatuses": [{"name": "netting-init",
                "state": {"terminated": {"exitCode": 1, "message": "no nf_tables here, token=hunter2!"}}}]},
    });
    object(&mut pod);
    let text = pod.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    for kept in ["CrashLoopBackOff", "no nf_tables here", "\"exitCode\":1"] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
}

#[test]
fn events_about_applications_keep_their_reason_alone() {
    let event = |container: &str| {
        json!({"reason": "Unhealthy", "note": "Readiness probe failed: hunter2",
            "regarding": {"fieldPath": format!("spec.containers{{{container}}}")}})
    };
    let (mut of_application, mut of_ours) = (event("app"), event("netting-sidecar"));
    object(&mut of_application);
    object(&mut of_ours);
    assert_eq!(of_application["note"], "<redacted>");
    assert_eq!(of_application["reason"], "Unhealthy");
    assert_eq!(of_ours["note"], "Readiness probe failed: hunter2");
}
