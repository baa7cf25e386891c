//! How pods end.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::boxed::{command, condition, in_a_box, sharing, shell, with};

#[test]
fn a_deleted_pod_ends_in_the_order_of_kubernetes() {
    in_a_box(&[], async |boxed| {
        let ends = |name: &str, pause: &str| {
            sharing(
                name,
                &format!(
                    "trap 'sleep {pause}; echo {name} >> /shared/ended; exit' TERM; \
                     while :; do sleep 0.02; done"
                ),
            )
        };
        let hook = json!({"exec": {"command": ["/bin/sh", "-c", "echo hook >> /shared/ended"]}});
        let spec = json!({
            "volumes": [boxed.volume()],
            "initContainers": [
                with(ends("first", "0"), json!({"restartPolicy": "Always"})),
                with(ends("second", "0"), json!({"restartPolicy": "Always"}))
            ],
            "containers": [
                with(ends("main", "0.5"), json!({"lifecycle": {"preStop": hook}})),
            ]
        });
        boxed.run("order", spec).await;
        boxed.ready("order").await;
        let asked = Instant::now();
        boxed.delete("order").await;
        boxed.gone("order").await;
        assert!(
            asked.elapsed() < Duration::from_secs(15),
            "{:?}",
            asked.elapsed()
        );
        assert_eq!(boxed.shared("ended"), "hook\nmain\nsecond\nfirst\n");
        assert_eq!(command("ip", &["netns", "list"]), "");
    });
}

#[test]
fn who_ignores_sigterm_is_killed_after_the_grace_period() {
    in_a_box(&[], async |boxed| {
        let stubborn = shell("main", "trap '' TERM; while :; do sleep 1; done");
        let spec = json!({"terminationGracePeriodSeconds": 2, "containers": [stubborn]});
        boxed.run("stubborn", spec.clone()).await;
        boxed.ready("stubborn").await;
        let asked = Instant::now();
        boxed.delete("stubborn").await;
        boxed.gone("stubborn").await;
        let took = asked.elapsed();
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_secs(20),
            "{took:?}"
        );
    });
}

#[test]
fn a_second_deletion_may_leave_less_time() {
    in_a_box(&[], async |boxed| {
        let stubborn = shell("main", "trap '' TERM; while :; do sleep 1; done");
        let spec = json!({"terminationGracePeriodSeconds": 3600, "containers": [stubborn]});
        boxed.run("stubborn", spec).await;
        boxed.ready("stubborn").await;
        boxed.delete("stubborn").await;
        boxed.event("stubborn", "Killing").await;
        let sooner = DeleteParams::default().grace_period(1);
        boxed
            .api::<Pod>()
            .delete("stubborn", &sooner)
            .await
            .expect("deleted");
        boxed.gone("stubborn").await;
    });
}

#[test]
fn a_pod_that_ends_is_ready_until_its_containers_are_gone() {
    in_a_box(&[], async |boxed| {
        // So that its endpoint still serves those who have no other.
        let lasts = sharing(
            "main",
            "trap 'until test -e /shared/go; do sleep 0.02; done; exit' TERM
            while :; do sleep 0.02; done",
        );
        boxed
            .run(
                "last",
                json!({"volumes": [boxed.volume()], "containers": [lasts]}),
            )
            .await;
        boxed.ready("last").await;
        boxed.delete("last").await;
        boxed.event("last", "Killing").await;
        let pod = boxed.api::<Pod>().get("last").await.expect("a pod");
        assert!(pod.metadata.deletion_timestamp.is_some());
        assert_eq!(condition(&pod, "Ready"), Some("True"));
        std::fs::write(boxed.shared.join("go"), "").expect("a file");
        boxed.gone("last").await;
    });
}

#[test]
fn a_pod_removed_by_force_leaves_nothing_behind() {
    in_a_box(&[], async |boxed| {
        boxed
            .run(
                "forced",
                json!({"containers": [shell("main", "sleep 3600")]}),
            )
            .await;
        boxed.ready("forced").await;
        let now = DeleteParams::default().grace_period(0);
        boxed
            .api::<Pod>()
            .delete("forced", &now)
            .await
            .expect("deleted");
        boxed.gone("forced").await;
        // The node hears of it, and the box is empty in the end.
        boxed.event("forced", "Killing").await;
    });
}

#[test]
fn a_pod_that_is_held_back_is_let_go_once() {
    in_a_box(&[], async |boxed| {
        let spec = json!({"restartPolicy": "Never", "nodeName": "box", "volumes": [boxed.volume()],
                          "containers": [sharing("main", "echo run >> /shared/runs; exit 3")]});
        let metadata = json!({"name": "held", "finalizers": ["example.org/hold"]});
        boxed
            .create::<Pod>(json!({"metadata": metadata, "spec": spec}))
            .await;
        boxed.in_phase("held", "Failed").await;
        boxed.delete("held").await;
        let let_go = |pod: &Pod| pod.metadata.deletion_grace_period_seconds == Some(0);
        boxed.pod_is("held", "let go", let_go).await;
        let label = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
        let api = boxed.api::<Pod>();
        api.patch("held", &PatchParams::default(), &label)
            .await
            .expect("patched");
        // A pod after it, so that the node has seen the change.
        boxed
            .output("after", shell("main", "true"), json!({}))
            .await;
        let pod = api.get("held").await.expect("a pod");
        let status = pod
            .status
            .and_then(|status| status.container_statuses)
            .expect("statuses");
        let ended = status[0]
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        assert_eq!(ended.map(|ended| ended.exit_code), Some(3));
        assert_eq!(boxed.shared("runs"), "run\n");
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        api.patch("held", &PatchParams::default(), &free)
            .await
            .expect("patched");
        boxed.gone("held").await;
    });
}
