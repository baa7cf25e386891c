//! The agent's own beginning and end.

use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::runtime::wait::await_condition;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::boxed::{
    Box, PROGRAM, assert_nothing_left, command, in_a_box, in_a_box_without_a_node, sharing, shell,
};

fn start(boxed: &Box) -> Child {
    Command::new(PROGRAM)
        .args(boxed.node_args(&[]))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("an agent")
}

async fn end(agent: &mut Child, signal: Signal) -> std::process::ExitStatus {
    let pid = agent
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .expect("a running agent");
    kill(Pid::from_raw(pid), signal).expect("a signal");
    let ended = tokio::time::timeout(Duration::from_secs(30), agent.wait()).await;
    ended.expect("it ends in time").expect("an exit status")
}

#[test]
fn nothing_survives_an_agent_that_is_killed_and_the_next_one_goes_on() {
    in_a_box_without_a_node(async |boxed| {
        let mut agent = start(&boxed);
        // The lock is free as soon as the process that holds it is gone.
        let script =
            "exec 9> /shared/lock; flock -n 9 || exit 1; echo run >> /shared/runs; exec sleep 3600";
        let memory = json!({"name": "memory", "emptyDir": {"medium": "Memory"}});
        let mut container = sharing("main", script);
        let mounts = container["volumeMounts"].as_array_mut().expect("mounts");
        mounts.push(json!({"name": "memory", "mountPath": "/memory"}));
        boxed
            .run(
                "web",
                json!({"volumes": [boxed.volume(), memory], "containers": [container]}),
            )
            .await;
        // It counts as ready before it has done anything.
        let has_run = async |runs: &str| {
            let has_run = async {
                while boxed.shared("runs") != runs {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let has_run = tokio::time::timeout(Duration::from_secs(60), has_run).await;
            has_run.expect("it runs, for the lock is free");
        };
        boxed.ready("web").await;
        has_run("run\n").await;
        assert!(!end(&mut agent, Signal::SIGKILL).await.success());
        assert!(command("ip", &["netns", "list"]).contains("netting-"));

        let mut agent = start(&boxed);
        let restarted = |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|it| it.container_statuses.as_ref());
            statuses.is_some_and(|all| all[0].restart_count >= 1 && all[0].ready)
        };
        boxed.pod_is("web", "restarted", restarted).await;
        // What was killed may take the kernel a moment to end, for which the lock sends its
        // successor away.
        has_run("run\nrun\n").await;
        assert_eq!(command("ip", &["netns", "list"]).lines().count(), 1);
        assert!(end(&mut agent, Signal::SIGTERM).await.success());
        assert_nothing_left(&boxed.state());
    });
}

/// Otherwise an API server would go on waiting for answers of a webhook that is no more.
#[test]
fn whoever_is_connected_to_a_pod_is_told_when_the_agent_ends() {
    in_a_box_without_a_node(async |boxed| {
        let mut agent = start(&boxed);
        let server = "exec python3 -c 'import socket
listener = socket.create_server((\"\", 7777))
connections = []
while True: connections.append(listener.accept())'";
        boxed
            .run("web", json!({"containers": [shell("main", server)]}))
            .await;
        let addr = boxed.ready("web").await.pod_ip.expect("an address");
        let mut stream = loop {
            // It counts as ready before it listens.
            match TcpStream::connect((addr.as_str(), 7777)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        end(&mut agent, Signal::SIGTERM).await;
        let told = tokio::time::timeout(Duration::from_secs(30), stream.read_u8()).await;
        assert!(told.expect("an end").is_err());
    });
}

#[test]
fn a_machine_without_ipv6_has_pods_without() {
    in_a_box_without_a_node(async |boxed| {
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").expect("this box's own");
        let mut agent = start(&boxed);
        boxed
            .run("four", json!({"containers": [shell("main", "sleep 3600")]}))
            .await;
        let addrs = boxed.ready("four").await.pod_ips.expect("addresses");
        assert_eq!(addrs.len(), 1, "{addrs:?}");
        end(&mut agent, Signal::SIGTERM).await;
    });
}

#[test]
fn an_agent_without_an_api_says_what_it_tried() {
    let output = std::process::Command::new(PROGRAM)
        .args(["node", "--kubeconfig=/no/such/file", "--state=/tmp/unused"])
        .output()
        .expect("an agent");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("/no/such/file"),
        "{said}"
    );
}

#[test]
fn a_node_registers_itself() {
    in_a_box(&[], async |boxed| {
        let nodes: Api<Node> = Api::all(boxed.client.clone());
        let is_ready = |node: Option<&Node>| {
            let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|it| it.type_ == "Ready" && it.status == "True")
            })
        };
        let ready = await_condition(nodes.clone(), "box", is_ready);
        let ready = tokio::time::timeout(Duration::from_secs(30), ready).await;
        let node = ready.expect("in time").expect("a watch").expect("a node");
        let labels = node.metadata.labels.expect("labels");
        assert_eq!(labels["kubernetes.io/hostname"], "box");
        let status = node.status.expect("a status");
        let addrs: Vec<String> = status
            .addresses
            .into_iter()
            .flatten()
            .map(|addr| addr.address)
            .collect();
        assert_eq!(addrs, ["10.244.0.1", "fd00:10:244::1"]);
    });
}

#[test]
fn a_pod_that_has_ended_is_not_run_again() {
    in_a_box_without_a_node(async |boxed| {
        let mut agent = start(&boxed);
        let script = "echo run >> /shared/runs";
        let spec = json!({"restartPolicy": "Never", "volumes": [boxed.volume()],
                          "containers": [sharing("main", script)]});
        boxed.run("job", spec).await;
        boxed.in_phase("job", "Succeeded").await;
        end(&mut agent, Signal::SIGTERM).await;
        let mut agent = start(&boxed);
        boxed
            .run(
                "other",
                json!({"containers": [shell("main", "sleep 3600")]}),
            )
            .await;
        boxed.ready("other").await;
        assert_eq!(boxed.shared("runs"), "run\n");
        boxed.delete("job").await;
        boxed.gone("job").await;
        end(&mut agent, Signal::SIGTERM).await;
    });
}
