//! `netting top` in a terminal, against an API server that has pods and lets nobody get
//! to them.

#[path = "../observing/command.rs"]
mod command;
#[path = "../observing/stub.rs"]
mod stub;
mod terminal;

use serde_json::{Value, json};
use stub::Stub;
use terminal::Terminal;

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

async fn cluster() -> Stub {
    let version = json!({"major": "1", "minor": "33", "gitVersion": "v1.33.1", "gitCommit": "",
        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
    let pods: Vec<Value> = (1..=6)
        .map(|number| {
            json!({"metadata": {"namespace": "shop", "name": format!("web-{number}"),
                "labels": {"netting.dev/injected": "true"}},
                "spec": {"containers": []}, "status": {"phase": "Running"}})
        })
        .collect();
    let pods = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods});
    let refused = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": 403, "message": "you may not forward ports"});
    Stub::serve(version, move |path| match path {
        "/api/v1/namespaces/shop/pods" => Some((200, pods.clone())),
        path if path.ends_with("/portforward") => Some((403, refused.clone())),
        _ => None,
    })
    .await
}

fn top(stub: &Stub, rows: u16) -> Terminal {
    let arguments = [
        "--kubeconfig",
        &stub.kubeconfig,
        "top",
        "-n",
        "shop",
        "--every=50ms",
    ];
    Terminal::run(env!("CARGO_BIN_EXE_netting"), &arguments, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_shown_until_q_and_the_terminal_is_given_back_as_it_was() {
    let stub = cluster().await;
    let mut terminal = top(&stub, 24);
    terminal.until(ENTER);
    assert_ne!(
        terminal.modes().local_modes,
        terminal.modes_before.local_modes,
        "keys are read as they are pressed"
    );
    terminal.until("workloads of shop");
    terminal.until("pod/web-6");
    assert!(
        terminal.text.contains("0 of 1 answer"),
        "{:?}",
        terminal.text
    );
    terminal.press("e");
    terminal.until("edges of shop");
    terminal.press("w");
    terminal.until("workloads of shop");
    terminal.press("q");
    terminal.until(LEAVE);
    assert_eq!(terminal.end(), Some(0), "{:?}", terminal.text);
    assert_eq!(
        terminal.modes().local_modes,
        terminal.modes_before.local_modes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_is_resized_is_drawn_anew() {
    let stub = cluster().await;
    let mut terminal = top(&stub, 24);
    terminal.until("pod/web-6");
    assert!(!terminal.text.contains("more"), "{:?}", terminal.text);
    terminal.resize(5);
    terminal.until("… and 5 more");
    terminal.resize(24);
    terminal.until("pod/web-6");
    terminal.press("\u{3}");
    terminal.until(LEAVE);
    assert_eq!(terminal.end(), Some(0), "{:?}", terminal.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_answer_leaves_the_terminal_first() {
    let (_dir, kubeconfig) = command::kubeconfig("http://127.0.0.1:1");
    let arguments = ["--kubeconfig", &kubeconfig, "top"];
    let mut terminal = Terminal::run(env!("CARGO_BIN_EXE_netting"), &arguments, 24);
    terminal.until("does not answer");
    let left = terminal.text.find(LEAVE).expect("the other screen is left");
    let said = terminal
        .text
        .find("does not answer")
        .expect("it was just there");
    assert!(left < said, "{:?}", terminal.text);
    assert_eq!(terminal.end(), Some(2), "{:?}", terminal.text);
}

#[tokio::test]
async fn without_a_terminal_it_names_what_is_for_scripts() {
    let stub = cluster().await;
    let said = command::netting(&format!("--kubeconfig {} top", stub.kubeconfig)).await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    assert!(
        said.stderr.contains("`netting stat` or `netting edges`"),
        "{said:?}"
    );
}
