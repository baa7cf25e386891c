//! A box from outside: it comes up, works, and leaves nothing behind, however it ends.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_netting-sandbox");

/// A box, and what it said when it was ready.
struct Running {
    up: Child,
    /// Open for as long as the program, or the box's first process, runs.
    stdout: BufReader<ChildStdout>,
    ready: Value,
    state: TempDir,
}

impl Running {
    fn start(options: &[&str]) -> Self {
        assert!(
            geteuid().is_root(),
            "boxes need root: run the tests with sudo"
        );
        let state = TempDir::new().expect("a directory");
        let mut up = Command::new(PROGRAM);
        up.args(["up", "--state"])
            .arg(state.path())
            .args(options)
            .stdout(Stdio::piped());
        Self::from(&mut up, state)
    }

    fn from(command: &mut Command, state: TempDir) -> Self {
        let mut up = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(up.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says something");
        let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!(ready["ready"], true);
        Self {
            up,
            stdout,
            ready,
            state,
        }
    }

    fn wait_for_the_end(&mut self) {
        self.stdout
            .read_to_end(&mut Vec::new())
            .expect("it is closed");
    }

    fn pid(&self) -> Pid {
        let pid = self.ready["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok());
        Pid::from_raw(pid.expect("a process id"))
    }

    async fn client(&self) -> Client {
        let path = self.ready["kubeconfig"].as_str().expect("a path");
        let parsed = Kubeconfig::read_from(Path::new(path)).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(parsed, &options)
            .await
            .expect("a usable kubeconfig");
        Client::try_from(config).expect("a client")
    }

    /// The output of a command that is run in the box.
    fn inside(&self, command: &[&str]) -> String {
        let enter = self.ready["enter"].as_str().expect("a command line");
        let words: Vec<&str> = enter
            .split_whitespace()
            .chain(command.iter().copied())
            .collect();
        let output = Command::new(words[0])
            .args(&words[1..])
            .output()
            .expect("nsenter runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The box's first process ends after all others: once it is waited for, nothing may be left.
    fn assert_all_gone(&self) {
        let state = format!("{}", self.state.path().display());
        let open = processes_naming(&state);
        assert!(open.is_empty(), "still running: {open:?}");
        assert!(
            kill(self.pid(), None).is_err(),
            "the box's first process is still there"
        );
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("readable");
        assert!(
            !mounts.contains(&state),
            "something of the box is still mounted"
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended where the test went well.
        if self.up.kill().is_ok() {
            self.up.wait().expect("it was killed");
        }
    }
}

/// Command lines of running processes that mention `text`.
fn processes_naming(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("readable").flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let output = Command::new(PROGRAM)
        .args(["up", "--state", "/proc/nowhere"])
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("/proc/nowhere"), "{said}");
}

#[test]
fn a_box_that_does_not_start_says_why() {
    let state = TempDir::new().expect("a directory");
    let up = |options: &[&str]| {
        let output = Command::new(PROGRAM)
            .args(["up", "--state"])
            .arg(state.path())
            .args(options)
            .output()
            .expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = up(&["--image", "no-directory"]);
    assert!(said.contains("write NAME=DIR"), "{said}");
    let said = up(&["--kubeconfig", "/proc/nowhere"]);
    assert!(
        said.contains("/proc/nowhere") && said.contains("sandbox.log"),
        "{said}"
    );
}

#[tokio::test]
async fn a_box_has_a_node_and_is_its_own_world() {
    let running = Running::start(&[]);
    let node = Api::<Node>::all(running.client().await)
        .get("netting-box")
        .await
        .expect("the node");
    let addresses = node
        .status
        .and_then(|status| status.addresses)
        .unwrap_or_default();
    assert!(
        addresses
            .iter()
            .any(|address| address.address == "10.244.0.1"),
        "{addresses:?}"
    );
    assert!(
        running
            .inside(&["ip", "-br", "addr", "show", "lo"])
            .contains("10.244.0.1")
    );
    let processes = running.inside(&["ps", "-e", "-o", "pid,args"]);
    let first = processes
        .lines()
        .find(|line| line.trim_start().starts_with("1 "));
    assert!(
        first.is_some_and(|line| line.contains("netting-sandbox")),
        "{processes}"
    );
}

#[test]
fn several_boxes_run_side_by_side() {
    let boxes = [Running::start(&[]), Running::start(&["--no-ipv6"])];
    assert!(
        boxes[0]
            .inside(&["ip", "-br", "addr"])
            .contains("fd00:10:244::1")
    );
    assert!(
        !boxes[1]
            .inside(&["ip", "-br", "addr"])
            .contains("fd00:10:244::1")
    );
}

#[test]
fn everything_ends_with_sigterm() {
    let mut running = Running::start(&[]);
    kill(
        Pid::from_raw(i32::try_from(running.up.id()).expect("a process id")),
        Signal::SIGTERM,
    )
    .expect("it runs");
    assert!(running.up.wait().expect("it ends").success());
    running.assert_all_gone();
}

#[test]
fn everything_ends_when_the_program_is_killed() {
    let mut running = Running::start(&[]);
    // A process that joined the box keeps a pipe open for as long as it lives.
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let enter = running.ready["enter"]
        .as_str()
        .expect("a command line")
        .to_owned();
    let words: Vec<&str> = enter.split_whitespace().chain(["sleep", "1000"]).collect();
    let mut sleeper = Command::new(words[0])
        .args(&words[1..])
        .stdout(writer)
        .spawn()
        .expect("nsenter runs");
    running.up.kill().expect("it runs");
    running.up.wait().expect("it was killed");
    reader
        .read_to_end(&mut Vec::new())
        .expect("the pipe closes");
    sleeper.wait().expect("it was in the box");
    running.wait_for_the_end();
}

#[test]
fn everything_ends_with_the_process_that_started_it() {
    let state = TempDir::new().expect("a directory");
    let script = format!("{PROGRAM} up --state {} & cat", state.path().display());
    let mut shell = Command::new("bash");
    let shell = shell
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut running = Running::from(shell, state);
    // The shell ends when nobody talks to it any more; the program it started is left behind.
    drop(running.up.stdin.take());
    running.up.wait().expect("the shell ends");
    running.wait_for_the_end();
}
