//! nghttp2's clients and server: HTTP/2 with many streams on a connection.

use crate::{
    nginx,
    pods::{Pods, SERVICE},
    process::{Ended, Server, directory, run, run_without},
};

/// nghttpd, which says back what is uploaded, and adds a trailer.
fn nghttpd(pods: &Pods) -> Server {
    let directory = directory();
    let file = directory.path().join("index.html");
    std::fs::write(file, "from nghttpd\n".repeat(10_000)).expect("it can be written");
    let mut command = pods.server.command(&[], "nghttpd");
    command
        .args([
            "--no-tls",
            "--echo-upload",
            "--trailer=x-trailer: last",
            "--htdocs",
        ])
        .arg(directory.path())
        .arg("8080");
    Server::start(&pods.server, 8080, directory, &mut command)
}

/// What h2load says of the requests, without the times.
fn h2load(pods: &Pods, arguments: &[&str]) -> Vec<String> {
    let url = format!("http://{SERVICE}:8080/");
    let ended = run(pods.client_command("h2load").args(arguments).arg(url));
    let counts = ended
        .stdout
        .lines()
        .filter(|line| line.starts_with("requests:") || line.starts_with("status codes:"));
    counts.map(str::to_owned).collect()
}

#[test]
fn many_streams_at_once_are_all_answered() {
    let pods = Pods::new();
    let _nginx = nginx::start(&pods);
    let calls = [
        "-n1000 -c1 -m100",
        "-n2000 -c8 -m32",
        "-n200 -c4 -m1",
        "-n100 -c2 -m10 -w16 -W16",
    ];
    let counts = pods.same(&calls, |pods, call| {
        h2load(pods, &call.split(' ').collect::<Vec<_>>())
    });
    for (call, counts) in calls.iter().zip(&counts) {
        let all = counts.join("\n");
        assert!(all.contains(" 0 failed, 0 errored"), "{call}: {all}");
        assert!(all.contains(" 0 3xx, 0 4xx, 0 5xx"), "{call}: {all}");
    }
}

#[test]
fn uploads_and_trailers_come_back_from_nghttpd() {
    let pods = Pods::new();
    let nghttpd = nghttpd(&pods);
    let upload = nghttpd.directory().join("index.html");
    let upload = upload.to_str().expect("its name is text");
    let plain = format!("http://{SERVICE}:8080/");
    let calls = [
        vec!["nghttp", &plain],
        vec!["nghttp", &plain, "--data", upload],
        vec!["nghttp", "--window-bits=10", &plain],
        vec!["nghttp", "--trailer=x-sent: t", &plain, "--data", upload],
        vec!["curl", "-sSi", "--http2-prior-knowledge", &plain],
    ];
    let ended = pods.same(&calls, |pods, call| -> Ended {
        run_without(&["date:"], pods.client_command(call[0]).args(&call[1..]))
    });
    for (call, ended) in calls.iter().zip(&ended) {
        assert_eq!(ended.code, Some(0), "{call:?}: {ended:?}");
    }
    assert_eq!(ended[1].stdout, ended[0].stdout);
}
