//! Pods that can't run, and what their status says about it.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::{Value, json};

use crate::boxed::{Box, in_a_box, shell, with};

/// The reason and message of the only container's waiting state.
fn waiting(pod: &Pod) -> Option<(String, String)> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let waiting = statuses[0].state.as_ref()?.waiting.as_ref()?;
    Some((
        waiting.reason.clone()?,
        waiting.message.clone().unwrap_or_default(),
    ))
}

async fn waits(boxed: &Box, name: &str, container: Value, reason: &str, message: &str) {
    boxed.run(name, json!({"containers": [container]})).await;
    let why =
        |pod: &Pod| waiting(pod).is_some_and(|(why, said)| why == reason && said.contains(message));
    boxed.pod_is(name, reason, why).await;
}

#[test]
fn what_keeps_a_container_from_starting_is_said() {
    in_a_box(&[], async |boxed| {
        let unknown = with(
            shell("main", "true"),
            json!({"image": "example.org/none:1"}),
        );
        waits(
            &boxed,
            "image",
            unknown,
            "ImagePullBackOff",
            "example.org/tools:1",
        )
        .await;
        let root = json!({"securityContext": {"runAsNonRoot": true}});
        let root = with(shell("main", "true"), root);
        waits(
            &boxed,
            "root",
            root,
            "CreateContainerConfigError",
            "runAsNonRoot",
        )
        .await;
        let no_command = json!({"name": "main", "image": "example.org/tools:1"});
        waits(
            &boxed,
            "command",
            no_command,
            "RunContainerError",
            "no command",
        )
        .await;
    });
}

#[test]
fn a_command_that_is_not_there_is_a_start_error() {
    in_a_box(&[], async |boxed| {
        let mut container = shell("main", "true");
        container["command"] = json!(["/no/such/program"]);
        boxed
            .run(
                "absent",
                json!({"restartPolicy": "Never", "containers": [container]}),
            )
            .await;
        let status = boxed.in_phase("absent", "Failed").await;
        let main = &status.container_statuses.expect("statuses")[0];
        let ended = main
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
            .expect("an end");
        assert_eq!(
            (ended.exit_code, ended.reason.as_deref()),
            (128, Some("StartError"))
        );
        let message = ended.message.as_deref().unwrap_or_default();
        assert!(message.contains("/no/such/program"), "{message}");
    });
}

#[test]
fn a_pod_starts_when_what_it_needs_has_come() {
    in_a_box(&[], async |boxed| {
        let volume = json!({"name": "v", "configMap": {"name": "late"}});
        let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
        let container = with(shell("main", "cat /v/k; sleep 60"), mounts);
        let spec = json!({"volumes": [volume], "containers": [container]});
        boxed.run("late", spec).await;
        boxed.event("late", "FailedMount").await;
        let metadata = json!({"name": "late"});
        boxed
            .create::<ConfigMap>(json!({"metadata": metadata, "data": {"k": "v\n"}}))
            .await;
        boxed.ready("late").await;
        assert_eq!(boxed.logs("late", "main").await, "v\n");
    });
}

#[test]
fn a_volume_that_cannot_be_mounted_is_an_event() {
    in_a_box(&[], async |boxed| {
        for (name, volume, said) in [
            (
                "kind",
                json!({"nfs": {"server": "x", "path": "/"}}),
                "not supported",
            ),
            (
                "absent",
                json!({"configMap": {"name": "none"}}),
                "not found",
            ),
            (
                "path",
                json!({"hostPath": {"path": "/no/such", "type": "Directory"}}),
                "/no/such",
            ),
        ] {
            let volume = with(volume, json!({"name": "v"}));
            let spec = json!({"volumes": [volume], "containers": [shell("main", "true")]});
            boxed.run(name, spec).await;
            boxed
                .pod_is(name, "waiting", |pod| waiting(pod).is_some())
                .await;
            let event = boxed.event(name, "FailedMount").await;
            assert!(event.contains(said), "{event}");
        }
    });
}
