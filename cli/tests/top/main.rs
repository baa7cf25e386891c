//! `netting top` in a terminal, against an API server that has pods and lets nobody get
//! to them.

#[path = "../observing/command.rs"]
mod command;
#[path = "../observing/stub.rs"]
mod stub;
mod terminal;

use rustix::process::Signal;
use serde_json::{Value, json};
use stub::Stub;
use terminal::Terminal;
use tokio::net::TcpListener;

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

fn version() -> Value {
    json!({"major": "1", "minor": "33", "gitVersion": "v1.33.1", "gitCommit": "",
        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
}

async fn cluster() -> Stub {
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
    Stub::serve(version(), move |path| match path {
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

fn is_as_before(terminal: &Terminal) {
    let (now, before) = (terminal.modes(), &terminal.modes_before);
    assert_eq!(now.local_modes, before.local_modes);
    assert_eq!(now.input_modes, before.input_modes);
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
    assert_eq!(terminal.end().await, Some(0), "{:?}", terminal.text);
    is_as_before(&terminal);
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
    assert_eq!(terminal.end().await, Some(0), "{:?}", terminal.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_stops_the_screen() {
    let stub = cluster().await;
    let mut terminal = top(&stub, 24);
    terminal.until("workloads of shop");
    // Control and S, which holds up the output of most terminals.
    terminal.press("\u{13}e");
    terminal.until("edges of shop");
    terminal.press("q");
    assert_eq!(terminal.end().await, Some(0), "{:?}", terminal.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_ends_it_the_terminal_is_given_back() {
    let stub = cluster().await;
    for signal in [Signal::TERM, Signal::INT] {
        let mut terminal = top(&stub, 24);
        terminal.until("workloads of shop");
        terminal.signal(signal);
        terminal.until(LEAVE);
        assert_eq!(terminal.end().await, Some(0), "{:?}", terminal.text);
        is_as_before(&terminal);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_interrupted_while_the_cluster_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").await;
    let silent = silent.expect("a port is free");
    let address = silent.local_addr().expect("it has an address");
    let (_dir, kubeconfig) = command::kubeconfig(&format!("http://{address}"));
    for end in [
        |terminal: &mut Terminal| terminal.press("\u{3}"),
        |terminal: &mut Terminal| terminal.signal(Signal::TERM),
    ] {
        let arguments = ["--kubeconfig", &kubeconfig, "top"];
        let mut terminal = Terminal::run(env!("CARGO_BIN_EXE_netting"), &arguments, 24);
        let asked = silent.accept().await.expect("it is asked");
        is_as_before(&terminal);
        end(&mut terminal);
        assert_eq!(terminal.end().await, None, "{:?}", terminal.text);
        is_as_before(&terminal);
        drop(asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_not_there_is_told_without_another_screen() {
    let (_dir, kubeconfig) = command::kubeconfig("http://127.0.0.1:1");
    let arguments = ["--kubeconfig", &kubeconfig, "top"];
    let mut terminal = Terminal::run(env!("CARGO_BIN_EXE_netting"), &arguments, 24);
    let before = terminal.until("does not answer");
    assert!(!before.contains(ENTER), "{before:?}");
    assert_eq!(terminal.end().await, Some(2), "{:?}", terminal.text);
    is_as_before(&terminal);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_looked_at_is_told_once_the_terminal_is_given_back() {
    let refused = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": "Forbidden", "code": 403, "message": "cannot list resource \"pods\""});
    let stub = Stub::serve(version(), move |path| {
        path.ends_with("/pods").then(|| (403, refused.clone()))
    })
    .await;
    let mut terminal = top(&stub, 24);
    terminal.until(LEAVE);
    terminal.until("not allowed to list Pods");
    assert_eq!(terminal.end().await, Some(2), "{:?}", terminal.text);
    is_as_before(&terminal);
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
