//! The access log of a real sidecar, on its standard output and in a file.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use serde_json::Value;

use crate::{
    application,
    harness::{
        namespace::dst,
        sidecar::{self, Sidecar},
    },
    pods::{ENDPOINT, Pods},
    process::{directory, until},
};

/// More lines than fit into a pipe (64 KiB) and into the room of all worker threads.
const UNREAD: usize = 1_500;
const LONG: usize = 1_000;

/// A server's pod, whose sidecar is to be started.
fn pods() -> Pods {
    let pods = Pods::new();
    application::serve(pods.server.listen(dst(ENDPOINT, 80)));
    pods
}

fn connect(pods: &Pods) -> TcpStream {
    let stream = pods.client.run(|| TcpStream::connect(dst(ENDPOINT, 80)));
    stream.expect("the sidecar listens")
}

/// Asks for each path, one after the other, over one connection.
fn ask(pods: &Pods, paths: &[&str]) {
    let stream = connect(pods);
    for path in paths {
        let asked = application::ask(&stream, path, "User-Agent: test\r\n");
        asked.expect("it is answered");
    }
}

#[test]
fn standard_output_has_a_line_for_each_request_as_the_template_says() {
    let pods = pods();
    let (read, write) = std::io::pipe().expect("a pipe can be made");
    let variables = [
        ("NETTING_ACCESS_LOG", "all"),
        (
            "NETTING_ACCESS_LOG_FORMAT",
            "100%% %{direction} %{method} %{path} %{status} \"%{user_agent}\" %{sni}",
        ),
    ];
    let _sidecar = Sidecar::start_writing(&pods.server, &variables, Stdio::from(write));
    ask(&pods, &["/200?token=secret", "/503", "/404"]);
    let lines = BufReader::new(read).lines().take(3);
    let lines: Vec<_> = lines.map(|line| line.expect("it is text")).collect();
    let expected = [
        "100% inbound GET /200 200 \"test\" -",
        "100% inbound GET /503 503 \"test\" -",
        "100% inbound GET /404 404 \"test\" -",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_file_has_what_failed_or_was_slow_alone() {
    let pods = pods();
    let directory = directory();
    // The sidecar is another user.
    let to_all = Permissions::from_mode(0o777);
    fs::set_permissions(directory.path(), to_all).expect("it is ours");
    let file = directory.path().join("access.log");
    let variables = [
        ("NETTING_ACCESS_LOG", "errors"),
        ("NETTING_ACCESS_LOG_SLOW", "1400ms"),
        ("NETTING_ACCESS_LOG_FORMAT", "json"),
        ("NETTING_ACCESS_LOG_TO", &file.display().to_string()),
    ];
    let _sidecar = Sidecar::start_with(&pods.server, &variables);
    ask(&pods, &["/200", "/503", "/200/slow", "/404", "/503/last"]);
    let lines = until("the last line", || {
        let text = fs::read_to_string(&file).ok()?;
        let whole = text.strip_suffix('\n')?.lines();
        let lines: Vec<Value> = whole
            .map(|line| serde_json::from_str(line).expect("each is JSON"))
            .collect();
        lines
            .last()
            .is_some_and(|line| line["path"] == "/503/last")
            .then_some(lines)
    });
    // On a busy machine others may be slow too.
    let is_slow = |line: &Value| line["duration_ms"].as_f64() >= Some(1_400.0);
    let told = |path: &str, status: u16| {
        let is_it = |line: &&Value| line["path"] == path && line["status"] == status;
        lines.iter().find(is_it)
    };
    assert!(told("/503", 503).is_some(), "{lines:?}");
    assert!(told("/200/slow", 200).is_some_and(is_slow), "{lines:?}");
    for (path, status) in [("/200", 200), ("/404", 404)] {
        assert!(told(path, status).is_none_or(is_slow), "{lines:?}");
    }
}

#[test]
fn a_standard_output_that_nobody_reads_costs_no_request() {
    let pods = pods();
    let (unread, write) = std::io::pipe().expect("a pipe can be made");
    let variables = [("NETTING_ACCESS_LOG", "all")];
    let _sidecar = Sidecar::start_writing(&pods.server, &variables, Stdio::from(write));
    let (stream, path) = (connect(&pods), format!("/200/{}", "x".repeat(LONG)));
    for _ in 0..UNREAD {
        let status = application::ask(&stream, &path, "").expect("it is answered");
        assert_eq!(status, "HTTP/1.1 200 -");
    }
    // While whoever writes is stuck, for it may be so for ever.
    let dropped =
        "netting_telemetry_dropped_total{error_type=\"queue_full\",netting_exporter=\"access_log\"";
    sidecar::wait_for(&pods.server, "/metrics", dropped);
    drop(unread);
}
