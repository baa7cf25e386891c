//! A real sidecar that is told to end: what it counted and saw last arrives.

use std::{fs, fs::Permissions, net::TcpStream, os::unix::fs::PermissionsExt as _, thread};

use crate::{
    application,
    backends::Otlp,
    harness::{
        namespace::dst,
        sidecar::{self, Sidecar},
    },
    pods::{ENDPOINT, Pods},
    process::{directory, until_eq},
    receivers::received,
};

const REQUESTS: usize = 20;

#[test]
fn requests_spans_and_lines_arrive_that_were_last_before_sigterm() {
    let pods = Pods::new();
    let finish = application::serve_when_told(pods.server.listen(dst(ENDPOINT, 80)));
    let otlp = pods.node.run(|| Otlp::at(4317, 4318));
    let directory = directory();
    // The sidecar is another user.
    let to_all = Permissions::from_mode(0o777);
    fs::set_permissions(directory.path(), to_all).expect("it is ours");
    let file = directory.path().join("access.log");
    let variables = [
        // Nothing would be sent for an hour.
        (
            "NETTING_TELEMETRY",
            "prometheus,otlp=http://10.0.0.1:4317;interval=1h",
        ),
        ("NETTING_TRACE_RATIO", "1"),
        ("NETTING_ACCESS_LOG", "all"),
        ("NETTING_ACCESS_LOG_TO", &file.display().to_string()),
    ];
    let mut process = Sidecar::start_with(&pods.server, &variables);
    let connect = || pods.client.run(|| TcpStream::connect(dst(ENDPOINT, 80)));
    let stream = connect().expect("the sidecar listens");
    for _ in 1..REQUESTS {
        application::ask(&stream, "/200", "").expect("it is answered");
    }
    // The last one is under way when the signal comes, which this one has made sure of.
    let slow = connect().expect("the sidecar listens");
    thread::scope(|scope| {
        // Gone with this closure, however it ends: nobody waits for ever.
        let finish = finish;
        let last = scope.spawn(|| application::ask(&slow, "/200/slow", ""));
        let under_way =
            "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"} 1";
        sidecar::wait_for(&pods.server, "/instruments", under_way);
        process.terminate();
        finish.send(()).expect("the application waits for it");
        let status = last.join().expect("it does not panic");
        assert_eq!(status.expect("it is answered"), "HTTP/1.1 200 -");
    });
    assert_eq!(process.exit_code(), Some(0));

    assert_eq!(received(&otlp, "grpc", "spans", REQUESTS).len(), REQUESTS);
    assert_eq!(received(&otlp, "grpc", "logs", REQUESTS).len(), REQUESTS);
    until_eq("requests", Some(REQUESTS as u64), || {
        let received = otlp.received("grpc");
        let points = &received["metrics"]["http.server.request.duration"]["points"];
        let points = points.as_object()?.values();
        Some(points.filter_map(|point| point["count"].as_u64()).sum())
    });
    let lines = fs::read_to_string(&file).expect("it is there");
    assert_eq!(lines.lines().count(), REQUESTS);
}
