//! What is in a pod's volumes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

use crate::boxed::{in_a_box, shell, with};

fn mounts(container: Value, mounts: Value) -> Value {
    with(container, json!({"volumeMounts": mounts}))
}

#[test]
fn files_come_from_config_maps_secrets_and_the_pod_itself() {
    in_a_box(&[], async |boxed| {
        let metadata = json!({"name": "some"});
        let data = json!({"a": "one", "b": "two"});
        boxed
            .create::<ConfigMap>(json!({"metadata": metadata, "data": data}))
            .await;
        boxed
            .create::<Secret>(json!({"metadata": metadata, "stringData": {"key": "secret"}}))
            .await;
        let volumes = json!([
            {"name": "map", "configMap": {"name": "some", "items": [{"key": "a", "path": "x/y"}]}},
            {"name": "all", "configMap": {"name": "some"}},
            {"name": "secret", "secret": {"secretName": "some", "defaultMode": 0o400}},
            {"name": "pod", "downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "scratch", "emptyDir": {}}
        ]);
        let script = "cat /map/x/y /all/b /secret/key /pod/labels; echo
            stat -Lc %a /secret/key; ! touch /map/z 2>/dev/null
            echo kept > /scratch/file; cat /scratch/file; ls /scratch/all";
        let container = mounts(
            shell("main", script),
            json!([
                {"name": "map", "mountPath": "/map", "readOnly": true},
                {"name": "all", "mountPath": "/all"},
                {"name": "secret", "mountPath": "/secret"},
                {"name": "pod", "mountPath": "/pod"},
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "all", "mountPath": "/scratch/all"}
            ]),
        );
        let said = boxed
            .output("files", container, json!({"volumes": volumes}))
            .await;
        assert_eq!(said, "onetwosecretapp=\"files\"\n\n400\nkept\na\nb\n");
    });
}

/// The second source is what OpenShift's API server adds to every pod; its controller makes the
/// ConfigMap without the key, which nobody else adds here.
#[test]
fn the_ca_of_openshifts_services_is_not_waited_for() {
    in_a_box(&[], async |boxed| {
        let from = |name: &str, key: &str| json!({"configMap": {"name": name, "items": [{"key": key, "path": key}]}});
        let service_ca = "openshift-service-ca.crt";
        let sources = [
            from("kube-root-ca.crt", "ca.crt"),
            from(service_ca, "service-ca.crt"),
        ];
        let volumes = json!([{"name": "api", "projected": {"sources": sources}}]);
        let mounted = json!([{"name": "api", "mountPath": "/api"}]);
        let container = mounts(shell("main", "ls /api"), mounted);
        let spec = json!({"volumes": volumes});
        let without = boxed.output("missing", container.clone(), spec.clone());
        assert_eq!(without.await, "ca.crt\n");
        boxed
            .create::<ConfigMap>(json!({"metadata": {"name": service_ca}}))
            .await;
        assert_eq!(boxed.output("empty", container, spec).await, "ca.crt\n");
    });
}

#[test]
fn a_token_is_for_its_audience_and_bound_to_its_pod() {
    in_a_box(&[], async |boxed| {
        let token = json!({"serviceAccountToken":
            {"audience": "netting", "expirationSeconds": 3600, "path": "token"}});
        let volumes = json!([{"name": "token", "projected": {"sources": [token]}}]);
        let container = mounts(
            with(
                shell("main", "stat -Lc '%a %u' /token/token; cat /token/token"),
                json!({"securityContext": {"runAsUser": 4150}}),
            ),
            json!([{"name": "token", "mountPath": "/token"}]),
        );
        let said = boxed
            .output("token", container, json!({"volumes": volumes}))
            .await;
        let (mode, token) = said.split_once('\n').expect("two lines");
        assert_eq!(mode, "600 4150");
        let claims = token.split('.').nth(1).expect("a JWT has claims");
        let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        assert_eq!(claims["aud"], json!(["netting"]));
        assert_eq!(claims["sub"], "system:serviceaccount:default:default");
        assert_eq!(claims["kubernetes.io"]["pod"]["name"], "token");
    });
}

#[test]
fn a_volume_belongs_to_the_pods_group() {
    in_a_box(&[], async |boxed| {
        let container = mounts(
            with(
                shell(
                    "main",
                    "touch /scratch/x; stat -c '%g %a' /scratch; stat -c %g /scratch/x",
                ),
                json!({"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}),
            ),
            json!([{"name": "scratch", "mountPath": "/scratch"}]),
        );
        let spec = json!({"securityContext": {"fsGroup": 77},
                          "volumes": [{"name": "scratch", "emptyDir": {}}]});
        assert_eq!(
            boxed.output("group", container, spec).await,
            "77 2777\n77\n"
        );
    });
}
