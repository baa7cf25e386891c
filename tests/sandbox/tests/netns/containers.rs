//! What a container's process is and sees.

use futures_util::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::LogParams;
use serde_json::{Value, json};

use crate::boxed::{Box, IMAGE, condition, in_a_box, sharing, shell, with};

/// The value of a line `name: value` in a file of /proc.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

async fn status_of(boxed: &Box, name: &str, context: Value, pod: Value) -> String {
    let container = shell("main", "cat /proc/self/status");
    let container = with(container, json!({"securityContext": context}));
    boxed
        .output(name, container, json!({"securityContext": pod}))
        .await
}

#[test]
fn a_process_is_who_the_pod_says_and_may_do_no_more() {
    in_a_box(&[], async |boxed| {
        let plain = status_of(&boxed, "plain", json!({}), json!({})).await;
        assert_eq!(line(&plain, "Uid"), "0\t0\t0\t0");
        // containerd's fourteen capabilities: chown to audit_write.
        assert_eq!(line(&plain, "CapEff"), "00000000a80425fb");
        assert_eq!(line(&plain, "CapBnd"), "00000000a80425fb");
        assert_eq!(line(&plain, "NoNewPrivs"), "0");

        let init = json!({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
                          "allowPrivilegeEscalation": false});
        let init = status_of(&boxed, "init", init, json!({})).await;
        assert_eq!(line(&init, "CapEff"), "0000000000003000");
        assert_eq!(line(&init, "CapBnd"), "0000000000003000");
        assert_eq!(line(&init, "NoNewPrivs"), "1");

        let user = json!({"runAsUser": 4150, "runAsGroup": 4151, "runAsNonRoot": true,
                          "capabilities": {"add": ["NET_ADMIN"]}});
        let groups = json!({"fsGroup": 7, "supplementalGroups": [8]});
        let user = status_of(&boxed, "user", user, groups).await;
        assert_eq!(line(&user, "Uid"), "4150\t4150\t4150\t4150");
        assert_eq!(line(&user, "Gid"), "4151\t4151\t4151\t4151");
        assert_eq!(line(&user, "Groups"), "7 8");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(line(&user, set), "0000000000000000", "{set}");
        }
        assert_eq!(line(&user, "CapBnd"), "00000000a80435fb");
    });
}

#[test]
fn a_container_has_a_file_system_of_its_own() {
    in_a_box(&[], async |boxed| {
        let script = "cat /netting/hello /etc/hostname; id -un; echo $$$$; pwd; echo $HOSTNAME
            echo x > /tmp/x; echo x > /run/x; ls /; stat -c %a /tmp
            ! touch /usr/x 2>/dev/null; ! touch /netting/x 2>/dev/null
            echo out > /dev/stdout; : > /dev/null; test -c /dev/urandom; test ! -e /home";
        let container = shell("main", script);
        let said = boxed
            .output(
                "own",
                with(container, json!({"workingDir": "/work/dir"})),
                json!({}),
            )
            .await;
        for expected in [
            "from the image\n",
            "own\nroot\n1\n/work/dir\nown\n",
            "\n1777\n",
            "out\n",
        ] {
            assert!(said.contains(expected), "{expected:?} in {said}");
        }
        let script = "! touch /x 2>/dev/null; ! touch /tmp/x 2>/dev/null; echo read-only
            echo out > /dev/stdout; id -u";
        let sealed = with(
            shell("main", script),
            json!({"securityContext": {"readOnlyRootFilesystem": true, "runAsUser": 1000}}),
        );
        assert_eq!(
            boxed.output("sealed", sealed, json!({})).await,
            "read-only\nout\n1000\n"
        );
    });
}

#[test]
fn the_environment_is_what_the_pod_says() {
    in_a_box(&[], async |boxed| {
        let service = json!({"metadata": {"name": "my-db"}, "spec": {"ports": [{"port": 5432}]}});
        let service: Service = boxed.create(service).await;
        let addr = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .expect("an address");
        let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
        let env = json!([
            {"name": "NAME", "valueFrom": field("metadata.name")},
            {"name": "LABEL", "valueFrom": field("metadata.labels['app']")},
            {"name": "NODE", "valueFrom": field("spec.nodeName")},
            {"name": "IP", "valueFrom": field("status.podIP")},
            {"name": "HOST", "valueFrom": field("status.hostIP")},
            {"name": "BOTH", "value": "$(NAME)/$(MY_DB_SERVICE_PORT)"}
        ]);
        let container = json!({"name": "main", "image": IMAGE, "env": env,
            "command": ["/bin/sh", "-c", "env; echo $0"], "args": ["$(BOTH)!"]});
        let said = boxed.output("env", container, json!({})).await;
        for expected in [
            "NAME=env\n",
            "LABEL=env\n",
            "NODE=box\n",
            "IP=10.244.0.2\n",
            "HOST=10.244.0.1\n",
            "BOTH=env/5432\n",
            "env/5432!\n",
            "KUBERNETES_SERVICE_HOST=10.96.0.1\n",
            "KUBERNETES_SERVICE_PORT=443\n",
            "HOSTNAME=env\n",
        ] {
            assert!(said.contains(expected), "{expected:?} in {said}");
        }
        assert!(
            said.contains(&format!("MY_DB_SERVICE_HOST={addr}\n")),
            "{said}"
        );
    });
}

#[test]
fn containers_start_in_their_order_and_sidecars_outlive_the_others() {
    in_a_box(&[], async |boxed| {
        let note = |name: &str| format!("echo {name} >> /shared/order");
        let sidecar = |name: &str, probe: Value| {
            let script = format!(
                "trap 'echo {name} ended >> /shared/order; exit' TERM; {}; sleep 0.2; touch /tmp/up; \
                 while :; do sleep 0.05; done",
                note(name)
            );
            let fields = json!({"restartPolicy": "Always", "startupProbe": probe});
            with(sharing(name, &script), fields)
        };
        let probe = json!({"exec": {"command": ["test", "-e", "/tmp/up"]},
                           "periodSeconds": 1, "failureThreshold": 30});
        let spec = json!({
            "restartPolicy": "Never",
            "volumes": [boxed.volume()],
            "initContainers": [
                sharing("first", &note("first")),
                sidecar("proxy", probe),
                sidecar("agent", Value::Null),
                sharing("second", &format!("sleep 0.3; {}", note("second")))
            ],
            "containers": [sharing("main", &format!("{}; sleep 0.2; {}", note("main"), note("done")))]
        });
        boxed.run("order", spec).await;
        let status = boxed.in_phase("order", "Succeeded").await;
        let order = boxed.shared("order");
        let words: Vec<&str> = order.lines().collect();
        let expected = [
            "first",
            "proxy",
            "agent",
            "second",
            "main",
            "done",
            "agent ended",
            "proxy ended",
        ];
        assert_eq!(words, expected);
        let inits = status.init_container_statuses.expect("statuses");
        assert!(
            inits.iter().all(|init| init.restart_count == 0),
            "{inits:?}"
        );
    });
}

#[test]
fn a_crashing_container_is_restarted_and_then_backed_off() {
    in_a_box(&[], async |boxed| {
        let script = "echo run >> /shared/runs; echo dying $(wc -l < /shared/runs); exit 3";
        let spec = json!({"volumes": [boxed.volume()], "containers": [sharing("main", script)]});
        boxed.run("crash", spec).await;
        let backing_off = |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref());
            let waiting =
                statuses.and_then(|all| all[0].state.as_ref()?.waiting.as_ref()?.reason.as_deref());
            waiting == Some("CrashLoopBackOff")
        };
        let status = boxed.pod_is("crash", "backing off", backing_off).await;
        let main = &status.container_statuses.expect("statuses")[0];
        assert_eq!(main.restart_count, 1);
        let last = main
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        assert_eq!(last.map(|last| last.exit_code), Some(3));
        assert_eq!(boxed.shared("runs"), "run\nrun\n");
        assert_eq!(boxed.logs("crash", "main").await, "dying 2\n");
        let previous = LogParams {
            previous: true,
            ..LogParams::default()
        };
        let before = boxed
            .api::<Pod>()
            .logs("crash", &previous)
            .await
            .expect("logs");
        assert_eq!(before, "dying 1\n");
    });
}

#[test]
fn a_sidecar_that_crashes_is_restarted_beside_the_others() {
    in_a_box(&[], async |boxed| {
        let script =
            "echo run >> /shared/runs; test $(wc -l < /shared/runs) = 2 || exit 1; sleep 3600";
        let sidecar = with(sharing("proxy", script), json!({"restartPolicy": "Always"}));
        let spec = json!({"volumes": [boxed.volume()], "initContainers": [sidecar],
                          "containers": [shell("main", "sleep 3600")]});
        boxed.run("pair", spec).await;
        let both = |pod: &Pod| {
            let status = pod.status.as_ref();
            let inits = status.and_then(|status| status.init_container_statuses.as_ref());
            inits.is_some_and(|all| all[0].restart_count == 1)
                && condition(pod, "Ready") == Some("True")
        };
        let status = boxed.pod_is("pair", "ready again", both).await;
        assert_eq!(
            status.container_statuses.expect("statuses")[0].restart_count,
            0
        );
    });
}

#[test]
fn logs_are_followed_to_the_containers_end() {
    in_a_box(&[], async |boxed| {
        let script = "echo one; until test -e /shared/go; do sleep 0.02; done; echo two";
        let spec = json!({"restartPolicy": "Never", "volumes": [boxed.volume()],
                          "containers": [sharing("main", script)]});
        boxed.run("talk", spec).await;
        boxed.ready("talk").await;
        let follow = LogParams {
            follow: true,
            ..LogParams::default()
        };
        let stream = boxed
            .api::<Pod>()
            .log_stream("talk", &follow)
            .await
            .expect("a stream");
        let mut lines = stream.lines();
        assert_eq!(
            lines.try_next().await.expect("a line").as_deref(),
            Some("one")
        );
        std::fs::write(boxed.shared.join("go"), "").expect("a file");
        assert_eq!(
            lines.try_next().await.expect("a line").as_deref(),
            Some("two")
        );
        assert_eq!(lines.try_next().await.expect("an end"), None);
    });
}

#[test]
fn a_hook_may_keep_a_container_from_living() {
    in_a_box(&[], async |boxed| {
        let hook = |script: &str| json!({"lifecycle": {"postStart": {"exec": {"command": ["/bin/sh", "-c", script]}}}});
        let good = with(
            sharing("main", "sleep 3600"),
            hook("echo hello > /shared/hook"),
        );
        boxed
            .run(
                "good",
                json!({"volumes": [boxed.volume()], "containers": [good]}),
            )
            .await;
        boxed.ready("good").await;
        assert_eq!(boxed.shared("hook"), "hello\n");
        let bad = with(
            shell("main", "trap exit TERM; while :; do sleep 0.02; done"),
            hook("exit 4"),
        );
        boxed
            .run(
                "bad",
                json!({"restartPolicy": "Never", "containers": [bad]}),
            )
            .await;
        let failed = boxed.event("bad", "FailedPostStartHook").await;
        assert!(failed.contains("exit code 4"), "{failed}");
        boxed
            .pod_is("bad", "over", |pod| {
                let phase = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref());
                matches!(phase, Some("Failed" | "Succeeded"))
            })
            .await;
    });
}

#[test]
fn last_words_and_both_streams_are_kept() {
    in_a_box(&[], async |boxed| {
        let script = "echo out; echo err >&2; printf end; echo farewell > /dev/termination-log";
        boxed
            .run(
                "words",
                json!({"restartPolicy": "Never", "containers": [shell("main", script)]}),
            )
            .await;
        let status = boxed.in_phase("words", "Succeeded").await;
        let main = &status.container_statuses.expect("statuses")[0];
        let ended = main
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
            .expect("an end");
        assert_eq!(ended.message.as_deref(), Some("farewell\n"));
        assert_eq!(ended.reason.as_deref(), Some("Completed"));
        let logs = boxed.logs("words", "main").await;
        // The streams come by pipes of their own: their order is nobody's.
        for said in ["out\n", "err\n", "end"] {
            assert!(logs.contains(said), "{said:?} is not in {logs:?}");
        }
        assert_eq!(logs.len(), "out\nerr\nend".len());
        let tail = LogParams {
            tail_lines: Some(1),
            ..LogParams::default()
        };
        let tail = boxed.api::<Pod>().logs("words", &tail).await.expect("logs");
        assert_eq!(tail.lines().count(), 1, "{tail}");
    });
}

#[test]
fn pods_without_a_node_are_bound_where_nobody_else_does() {
    in_a_box(&["--schedule"], async |boxed| {
        let spec = json!({"restartPolicy": "Never", "containers": [shell("main", "true")]});
        boxed
            .create::<Pod>(json!({"metadata": {"name": "unbound"}, "spec": spec}))
            .await;
        boxed.in_phase("unbound", "Succeeded").await;
        let pod = boxed.api::<Pod>().get("unbound").await.expect("a pod");
        assert_eq!(
            pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()),
            Some("box")
        );
        assert_eq!(condition(&pod, "PodScheduled"), Some("True"));
    });
}
