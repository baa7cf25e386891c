//! `netting support-bundle`: nothing leaves that nobody should see, and what can't be had
//! keeps nothing else from being collected.

#[path = "observing/command.rs"]
mod command;
#[path = "observing/stub.rs"]
mod stub;

use std::{
    fs,
    path::Path,
    process::Stdio,
    sync::{Barrier, Mutex, mpsc},
};

use command::netting;
use serde_json::{Value, json};
use stub::Stub;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    task::block_in_place,
};

/// What must not be in a bundle, wherever it was in the cluster.
const CANARY: &str = "correct-horse-battery";
/// The same, as people choose passwords.
const AWKWARD: &str = "c0rrect%40h@rse!b$ttery";

fn version() -> Value {
    json!({"major": "1", "minor": "33", "gitVersion": "v1.33.1", "gitCommit": "",
        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
}

fn refused(path: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": 403, "message": format!("you may not ask for {path}")});
    (403, status)
}

fn list(items: &[Value]) -> (u16, Value) {
    (
        200,
        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
    )
}

fn pod(namespace: &str, name: &str, container: &str) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name, "labels": {"netting.dev/injected": "true"},
            "annotations": {"example.org/password": CANARY, "netting.dev/log-level": "debug",
                "netting.dev/telemetry": format!("otlp=http://c:4317;token={CANARY}"),
                "kubectl.kubernetes.io/last-applied-configuration": format!("{{\"a\":\"{CANARY}\"}}")}},
        "spec": {
            "containers": [{"name": container, "command": ["run", CANARY], "args": [CANARY],
                "env": [{"name": "PASSWORD", "value": CANARY}, {"name": "NETTING_LOG", "value": CANARY}],
                "livenessProbe": {"exec": {"command": [CANARY]}}}],
            "initContainers": [{"name": "netting-sidecar", "command": ["/netting/netting-sidecar"],
                "env": [{"name": "NETTING_OTLP_HEADERS", "value": format!("authorization={CANARY}")},
                    {"name": "NETTING_LOG", "value": "info"}]}],
            "volumes": [{"name": "v", "csi": {"driver": "d", "volumeAttributes": {"token": CANARY}}}]},
        "status": {"phase": "Running", "message": format!("token={CANARY}, password: {AWKWARD}"),
            "containerStatuses": [{"name": container, "lastState": {"terminated": {"exitCode": 1,
                "message": format!("my own words are {CANARY}")}}}]}})
}

fn answer(path: &str) -> Option<(u16, Value)> {
    let log = format!(
        "level=info token={CANARY}\nauthorization: Bearer {CANARY}\n{{\"password\":\"{CANARY}\"}}\n\
         GET http://me:{CANARY}@db/ eyJhbGciOi.eyJzdWIi.{CANARY}\n\
         cannot connect to postgres://me:{AWKWARD}@db:5432/shop\nx-api-key: {AWKWARD}\n\
         -----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\nthe last line\n"
    );
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "netting-webhook-tls"},
        "data": {"tls.key": CANARY}});
    let named = |name: &str| json!({"metadata": {"name": name, "annotations": {"a": CANARY}}});
    let event = json!({"metadata": {"name": "e", "namespace": "netting"}, "eventTime": null,
        "note": format!("it failed: PASSWORD={CANARY}")});
    Some(match path {
        path if path.ends_with("/log") => (200, log.into()),
        path if path.ends_with("/portforward") => refused(path),
        path if path.ends_with("/secrets/netting-webhook-tls") => (200, secret),
        "/api/v1/namespaces/netting/pods" => {
            list(&[pod("netting", "netting-catalog-1", "catalog")])
        }
        "/api/v1/pods" => list(&[pod("shop", "web-1", "app")]),
        "/api/v1/namespaces" => list(&[named("shop"), named("netting")]),
        "/api/v1/nodes" => list(&[named("node-1")]),
        "/apis/events.k8s.io/v1/namespaces/netting/events" => list(&[event]),
        _ => return None,
    })
}

fn read_all(directory: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("it was written") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            files.extend(read_all(&path));
        } else {
            let content = fs::read_to_string(&path).expect("it is text");
            files.push((path.display().to_string(), content));
        }
    }
    files
}

fn file<'a>(files: &'a [(String, String)], name: &str) -> &'a str {
    let mut found = files.iter().filter(|(path, _)| path.ends_with(name));
    let names: Vec<&String> = files.iter().map(|(path, _)| path).collect();
    &found
        .next()
        .unwrap_or_else(|| panic!("{name} is not in {names:?}"))
        .1
}

#[tokio::test]
async fn no_secret_and_no_token_is_in_it_wherever_it_was() {
    let stub = Stub::serve(version(), answer).await;
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().join("bundle");
    let command = format!(
        "--kubeconfig {} support-bundle --to {}",
        stub.kubeconfig,
        to.display()
    );
    let said = netting(&command).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let written = format!("files in {}", to.display());
    assert!(said.stdout.contains(&written), "{said:#?}");
    assert!(
        said.stderr.contains("could not be had: missing.txt"),
        "{said:#?}"
    );
    let files = read_all(&to);
    for (path, content) in &files {
        for secret in [CANARY, "c0rrect", "b$ttery", "PRIVATE KEY", "eyJ"] {
            assert!(
                !content.contains(secret),
                "{secret} is in {path}: {content}"
            );
        }
    }
    // What a report needs is there all the same.
    assert!(file(&files, "shop/web-1.netting-sidecar.log").contains("the last line"));
    assert!(file(&files, "netting-catalog-1.catalog.log").contains("level=info"));
    let pod = file(&files, "pods/shop/web-1.yaml");
    for kept in [
        "name: NETTING_LOG\n",
        "value: info\n",
        "netting.dev/log-level: debug",
        "phase: Running",
    ] {
        assert!(pod.contains(kept), "{kept}: {pod}");
    }
    assert!(file(&files, "objects/events.yaml").contains("it failed"));
    let missing = file(&files, "missing.txt");
    for what in [
        "pods/shop/web-1.config.json",
        "control-plane/netting-catalog-1.metrics.txt",
    ] {
        assert!(missing.contains(what), "{what}: {missing}");
    }
}

#[tokio::test]
async fn who_may_see_nothing_gets_a_bundle_that_says_so() {
    let stub = Stub::serve(version(), |path| Some(refused(path))).await;
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().join("bundle");
    let command = format!(
        "--kubeconfig {} support-bundle --to {}",
        stub.kubeconfig,
        to.display()
    );
    let said = netting(&command).await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    let files = read_all(&to);
    let missing = file(&files, "missing.txt");
    for what in [
        "list nodes",
        "list namespaces",
        "list Netting's pods",
        "list pods with a sidecar",
    ] {
        assert!(missing.contains(what), "{what}: {missing}");
    }
    assert!(
        missing.contains("you may not ask for /api/v1/nodes"),
        "{missing}"
    );
    assert!(file(&files, "check.json").contains("you may not ask for"));
}

#[tokio::test]
async fn where_nothing_can_be_written_nothing_is_collected() {
    let stub = Stub::serve(version(), answer).await;
    let dir = tempfile::tempdir().expect("a directory");
    let there = dir.path().join("there.tar.gz");
    fs::write(&there, "mine").expect("there is room for a file");
    for (to, code, says) in [
        (
            there.clone(),
            2,
            "is there already; choose another name by --to",
        ),
        (there.join("below.tgz"), 1, "could not write"),
        (there.join("below"), 1, "could not write"),
    ] {
        let command = format!(
            "--kubeconfig {} support-bundle --to {}",
            stub.kubeconfig,
            to.display()
        );
        let said = netting(&command).await;
        assert_eq!(said.code, Some(code), "{said:#?}");
        assert!(said.stderr.contains(says), "{said:#?}");
    }
    assert_eq!(fs::read_to_string(&there).expect("it is there"), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_asked_together_so_that_those_of_a_dead_node_hold_up_nobody() {
    // Each log comes once all of them were asked for.
    let all = Barrier::new(3);
    let together = move |path: &str| {
        if path.ends_with("/log") {
            block_in_place(|| all.wait());
        }
        answer(path)
    };
    let stub = Stub::serve(version(), together).await;
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().join("bundle");
    let said = netting(&format!(
        "--kubeconfig {} support-bundle --to {}",
        stub.kubeconfig,
        to.display()
    ))
    .await;
    assert_eq!(said.code, Some(0), "{said:#?}");
    for step in [
        "looking, as netting check does",
        "listing objects",
        "asking 2 pods",
    ] {
        assert!(said.stderr.contains(step), "{step}: {said:#?}");
    }
    let files = read_all(&to);
    for log in ["web-1.netting-init.log", "netting-catalog-1.catalog.log"] {
        assert!(file(&files, log).contains("the last line"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_interrupted_leaves_nothing_in_the_way_of_the_next() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let hold = move |path: &str| {
        if path.ends_with("/log") {
            // Until the other end is dropped.
            let _ = block_in_place(|| held.lock().expect("no test panics").recv());
        }
        answer(path)
    };
    let stub = Stub::serve(version(), hold).await;
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["bundle", "bundle.tar.gz"] {
        let to = dir.path().join(name);
        let mut command = command::command();
        command
            .args(["--kubeconfig", &stub.kubeconfig, "support-bundle", "--to"])
            .arg(&to)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("it runs");
        let stderr = child.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        loop {
            let line = lines.next_line().await.expect("it is text");
            let line = line.expect("it can't end before its pods have answered");
            if line.starts_with("asking") {
                break;
            }
        }
        child.kill().await.expect("it runs until then");
        let left = fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!(left, 0, "{name}");
    }
    drop(release);
    let to = dir.path().join("bundle");
    let again = netting(&format!(
        "--kubeconfig {} support-bundle --to {}",
        stub.kubeconfig,
        to.display()
    ))
    .await;
    assert_eq!(again.code, Some(0), "{again:#?}");
}
