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
fn tokens_and_keys_are_cut_out_of_logs() {
    let log = "got token=eyJhbGciOi.eyJzdWIi.c2ln from 10.0.0.1:80, not eyJ.x\n\
               authorization: Bearer abc-123.DEF next\n\
               otlp=http://c:4317;token=abc;header.authorization=Basic YWJj,prometheus\n\
               otlp=http://c:4317;token=$(secret:otel/token)\n\
               -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n\
               plain line, version 1.2.3\n";
    let expected = "got <redacted> from 10.0.0.1:80, not eyJ.x\n\
                    authorization: Bearer <redacted> next\n\
                    otlp=http://c:4317;token=<redacted>;header.authorization=<redacted> <redacted>,prometheus\n\
                    otlp=http://c:4317;token=$(secret:otel/token)\n\
                    <redacted>\n\
                    plain line, version 1.2.3\n";
    assert_eq!(text(log), expected);
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
        "me:<redacted>@collector:4317",
        "not found",
    ] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
}

#[test]
fn credentials_are_cut_out_of_logs_however_they_are_written() {
    for (line, expected) in [
        (
            "{\"password\":\"hunter2\",\"user\":\"me\"}",
            "{\"password\":\"<redacted>\",\"user\":\"me\"}",
        ),
        ("client_secret: hunter2", "client_secret: <redacted>"),
        ("token = hunter2", "token = <redacted>"),
        (
            "GET /a?X-Amz-Signature=hunter2&b=1",
            "GET /a?X-Amz-Signature=<redacted>&b=1",
        ),
        ("GET /a?sv=1&sig=hunter2", "GET /a?sv=1&sig=<redacted>"),
        (
            "db=postgres://me:hunter2@db:5432/shop",
            "db=postgres://me:<redacted>@db:5432/shop",
        ),
        (
            "Authorization: Basic aHVudGVyMg== next",
            "Authorization: Basic <redacted> next",
        ),
        ("Authorization: hunter2", "Authorization: <redacted>"),
        (
            "image netting:0.1.0@sha256:00ff",
            "image netting:0.1.0@sha256:00ff",
        ),
        (
            "to [fd00::1]:80 took 5ms, key: web",
            "to [fd00::1]:80 took 5ms, key: web",
        ),
    ] {
        assert_eq!(text(line), format!("{expected}\n"));
    }
}
