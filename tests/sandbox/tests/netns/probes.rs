//! Probes of every kind turn readiness, and liveness restarts.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::boxed::{condition, in_a_box, sharing, with};

/// An HTTP server that answers 200 as long as there is a file /shared/ok, in Perl, which every
/// Debian has.
pub(crate) const SERVER: &str = r#"exec perl -MIO::Socket::IP -e '
    $s = IO::Socket::IP->new(LocalHost => "::", V6Only => 0, LocalPort => 8080, Listen => 9,
        ReuseAddr => 1) or die "$@";
    while ($c = $s->accept) {
        while (<$c>) { last if /^\r?$/ }
        $status = -e "/shared/ok" ? "200 OK" : "503 No";
        $body = "$ENV{HOSTNAME} " . $c->peerhost . "\n";
        print $c "HTTP/1.1 $status\r\nConnection: close\r\nContent-Length: " . length($body)
            . "\r\n\r\n$body";
        close $c;
    }'"#;

fn ready(pod: &Pod) -> bool {
    condition(pod, "Ready") == Some("True")
}

#[test]
fn readiness_follows_the_probe_both_ways() {
    in_a_box(&[], async |boxed| {
        let http = json!({"httpGet": {"port": "web", "path": "/healthz"}});
        let exec = json!({"exec": {"command": ["test", "-e", "/shared/ok"]}});
        let fast = |probe: Value| with(probe, json!({"periodSeconds": 1, "failureThreshold": 1}));
        for (name, probe) in [("http", http), ("exec", exec)] {
            let probe = json!({"readinessProbe": fast(probe),
                               "ports": [{"name": "web", "containerPort": 8080}]});
            let container = with(sharing("main", SERVER), probe);
            boxed
                .run(
                    name,
                    json!({"volumes": [boxed.volume()], "containers": [container]}),
                )
                .await;
            boxed.in_phase(name, "Running").await;
            boxed.event(name, "Unhealthy").await;
            let file = boxed.shared.join("ok");
            std::fs::write(&file, "").expect("a file");
            boxed.ready(name).await;
            std::fs::remove_file(&file).expect("a file");
            boxed.pod_is(name, "unready again", |pod| !ready(pod)).await;
        }
    });
}

#[test]
fn a_tcp_probe_waits_for_a_listener_and_liveness_restarts_a_container() {
    in_a_box(&[], async |boxed| {
        let tcp = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
        let alive = json!({"exec": {"command": ["test", "!", "-e", "/shared/dead"]},
            "periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 1});
        let probes = json!({"startupProbe": with(tcp.clone(), json!({"failureThreshold": 60})),
            "readinessProbe": tcp, "livenessProbe": alive});
        let script = format!("rm -f /shared/dead; sleep 0.5; {SERVER}");
        let container = with(sharing("main", &script), probes);
        boxed
            .run(
                "tcp",
                json!({"volumes": [boxed.volume()], "containers": [container]}),
            )
            .await;
        let status = boxed.ready("tcp").await;
        let main = &status.container_statuses.expect("statuses")[0];
        assert_eq!((main.restart_count, main.started), (0, Some(true)));
        std::fs::write(boxed.shared.join("dead"), "").expect("a file");
        let restarted = |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref());
            statuses.is_some_and(|all| all[0].restart_count == 1) && ready(pod)
        };
        boxed.pod_is("tcp", "restarted", restarted).await;
        let killing = boxed.event("tcp", "Killing").await;
        assert!(killing.contains("liveness"), "{killing}");
    });
}

#[test]
fn a_command_that_hangs_is_killed_and_fails_the_probe() {
    in_a_box(&[], async |boxed| {
        let hangs = json!({"exec": {"command": ["/bin/sh", "-c", "echo x >> /shared/asked; sleep 600"]},
                           "periodSeconds": 1, "timeoutSeconds": 1});
        let container = with(
            sharing("main", "sleep 3600"),
            json!({"readinessProbe": hangs}),
        );
        boxed
            .run(
                "hang",
                json!({"volumes": [boxed.volume()], "containers": [container]}),
            )
            .await;
        let unhealthy = boxed.event("hang", "Unhealthy").await;
        assert!(unhealthy.contains("timed out"), "{unhealthy}");
        boxed.in_phase("hang", "Running").await;
    });
}
