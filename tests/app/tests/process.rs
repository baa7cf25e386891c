//! The binary as a container runs it: arguments, signals, exit codes, standard output.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

const BINARY: &str = env!("CARGO_BIN_EXE_netting-test-app");

/// A mode that runs until it's ended; killed if a test fails before.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("it's piped");
        Self {
            child,
            stdout: BufReader::new(stdout),
        }
    }

    fn next_event(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it writes text");
        serde_json::from_str(&line).expect("each line is JSON")
    }

    /// The port it says it listens on.
    fn port(&mut self) -> u16 {
        let event = self.next_event();
        assert_eq!(event["event"], "listening");
        let addr: SocketAddr = event["addr"]
            .as_str()
            .and_then(|addr| addr.parse().ok())
            .expect("ip:port");
        addr.port()
    }

    fn sigterm(&self) {
        let sent = Command::new("kill")
            .args(["-s", "TERM", &self.child.id().to_string()])
            .status()
            .expect("kill is there");
        assert!(sent.success());
    }

    fn exit_code(mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).env("POD_NAME", "pod-1");
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_wrong_flag_exits_with_2_and_says_what_is_right() {
    let output = run(&["http", "--on-sigterm", "never"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("linger=DURATION"), "{message}");
}

#[test]
fn a_taken_port_exits_with_1_and_its_number() {
    let mut server = Running::start(&["sink", "--port", "0"]);
    let port = server.port().to_string();
    let output = run(&["http", "--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&format!("port {port}")), "{message}");
}

#[test]
fn a_fetch_that_fails_exits_with_1_and_the_reason() {
    let mut server = Running::start(&["http", "--port", "0"]);
    let url = format!("http://localhost:{}/status/503", server.port());
    let output = run(&["fetch", &url, "--tries", "2", "--every", "1ms"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        message.matches("503 Service Unavailable").count(),
        2,
        "{message}"
    );
}

#[test]
fn fetch_prints_the_body_over_either_family() {
    let mut server = Running::start(&["http", "--port", "0"]);
    let port = server.port();
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let output = run(&["fetch", &format!("http://{host}:{port}/hello")]);
        assert!(output.status.success(), "{output:?}");
        let echo: Value = serde_json::from_str(&stdout(&output)).expect("the echo is JSON");
        assert_eq!(
            (&echo["pod"], &echo["path"]),
            (&"pod-1".into(), &"/hello".into())
        );
    }
}

#[test]
fn tcp_send_prints_all_of_the_answer() {
    let mut server = Running::start(&["speaks-first", "--port", "0"]);
    let target = format!("localhost:{}", server.port());
    let output = run(&["tcp-send", &target, "HELO\nQUIT"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stdout(&output), "220 pod-1 ready\r\nHELO\nQUIT");
}

#[test]
fn tcp_send_gives_up_on_a_server_that_never_answers() {
    let mut server = Running::start(&["hold", "--port", "0"]);
    let target = format!("127.0.0.1:{}", server.port());
    let output = run(&["tcp-send", &target, "anybody?", "--timeout", "50ms"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("within 50ms"), "{message}");
}

#[test]
fn once_names_the_pod_and_exits_at_once() {
    let output = run(&["once"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains(r#""pod":"pod-1""#), "{output:?}");
}

#[test]
fn every_server_exits_with_0_on_sigterm() {
    for (mode, policy) in [
        ("http", "exit"),
        ("http", "finish"),
        ("tcp-echo", "linger=1ms"),
        ("speaks-first", "finish"),
        ("hold", "exit"),
        ("sink", "finish"),
    ] {
        let mut server = Running::start(&[mode, "--port", "0", "--on-sigterm", policy]);
        server.port();
        server.sigterm();
        assert_eq!(server.exit_code(), Some(0), "{mode} --on-sigterm {policy}");
    }
}

#[test]
fn a_finishing_echo_waits_for_its_client() {
    let mut server = Running::start(&["tcp-echo", "--port", "0"]);
    let mut client = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    // What is echoed was accepted.
    client.write_all(b"-").expect("it reads");
    client.read_exact(&mut [0]).expect("it echoes");
    server.sigterm();
    assert_eq!(server.child.try_wait().expect("it can be asked"), None);
    drop(client);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn fetch_waits_for_sigterm_if_it_is_asked_to() {
    let mut server = Running::start(&["http", "--port", "0"]);
    let url = format!("http://127.0.0.1:{}/", server.port());
    let mut fetch = Running::start(&["fetch", &url, "--after-sigterm", "10ms"]);
    wait_until_sigterm_is_caught(&fetch.child);
    assert_eq!(fetch.child.try_wait().expect("it can be asked"), None);
    fetch.sigterm();
    let mut answer = String::new();
    let read = fetch.stdout.read_to_string(&mut answer);
    read.expect("it writes text");
    assert!(answer.contains("pod-1"), "{answer}");
    assert_eq!(fetch.exit_code(), Some(0));
}

/// `SigCgt` of proc_pid_status(5) has a bit for each signal, SIGHUP's first.
fn wait_until_sigterm_is_caught(process: &Child) {
    const SIGTERM: u64 = 1 << 14;
    let path = format!("/proc/{}/status", process.id());
    loop {
        let status = std::fs::read_to_string(&path).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        if caught.expect("a process has such a mask") & SIGTERM != 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn load_tells_its_books_on_sigterm_and_exits_with_0() {
    let mut server = Running::start(&["http", "--port", "0"]);
    let url = format!("http://127.0.0.1:{}/", server.port());
    let mut load = Running::start(&[
        "load",
        "--url",
        &url,
        "--rate",
        "100",
        "--duration",
        "0",
        "--timeout",
        "60s",
        "--stats-port",
        "0",
        "--fail",
    ]);
    load.port();
    // A busy machine may have sent little in the first of them.
    loop {
        let second = load.next_event();
        assert_eq!(second["event"], "second");
        if second["by_pod"]["pod-1"].as_u64() > Some(10) {
            break;
        }
    }
    load.sigterm();
    let mut rest = String::new();
    load.stdout
        .read_to_string(&mut rest)
        .expect("it writes text");
    let summary: Value =
        serde_json::from_str(rest.lines().last().expect("a summary")).expect("each line is JSON");
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["ok"], summary["sent"], "{summary}");
    assert_eq!(load.exit_code(), Some(0));
}

#[test]
fn load_exits_with_1_if_asked_to_fail_and_nobody_answers() {
    // Bound but not listening: the port is ours, and connections are refused.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).expect("a free port");
    let addr = socket.local_addr().expect("it's bound").as_socket();
    let url = format!("http://{}/", addr.expect("an IP address"));
    let args = [
        "load",
        "--url",
        &url,
        "--duration",
        "2s",
        "--rate",
        "100",
        "--stats-port",
        "0",
    ];
    assert_eq!(run(&args).status.code(), Some(0));
    let output = run(&[&args[..], &["--fail"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("Connection refused"), "{output:?}");
}
