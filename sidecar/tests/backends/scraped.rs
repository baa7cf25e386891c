//! An application's metrics and its sidecar's in one scrape, where both have families of the
//! same name: none of them is there twice.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    application,
    backends::Prometheus,
    control_plane::ControlPlane,
    harness::{
        namespace::dst,
        sidecar::{self, Sidecar},
    },
    pods::Pods,
    process::{directory, python, until, until_eq},
    query::{self, promql},
};

/// What OpenTelemetry's SDKs and Prometheus' clients have applications expose.
const TEXT: &str = r#"# HELP target_info Target metadata
# TYPE target_info gauge
target_info{service_name="shop",telemetry_sdk_language="java",k8s_container_name="app"} 1
# HELP process_memory_usage_bytes Memory of the application
# TYPE process_memory_usage_bytes gauge
process_memory_usage_bytes 1000
# HELP process_cpu_seconds_total Time on a CPU
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 2.5
# HELP http_server_request_duration_seconds Duration of requests
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{http_route="/orders",le="1"} 7
http_server_request_duration_seconds_bucket{http_route="/orders",le="+Inf"} 7
http_server_request_duration_seconds_sum{http_route="/orders"} 3.5
http_server_request_duration_seconds_count{http_route="/orders"} 7
"#;

/// The same in OpenMetrics.
fn openmetrics() -> String {
    let text = TEXT
        .replace("# HELP target_info", "# HELP target")
        .replace("# TYPE target_info gauge", "# TYPE target info")
        .replace(
            "# HELP process_cpu_seconds_total",
            "# HELP process_cpu_seconds",
        )
        .replace(
            "# TYPE process_cpu_seconds_total",
            "# TYPE process_cpu_seconds",
        )
        .replace("le=\"1\"", "le=\"1.0\"");
    text + "# EOF\n"
}

/// Answers in the format that is asked for.
fn serve(listener: TcpListener) {
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or_default();
            let (kind, text) = match String::from_utf8_lossy(&head[..read]).contains("openmetrics")
            {
                true => ("application/openmetrics-text; version=1.0.0", openmetrics()),
                false => ("text/plain; version=0.0.4", TEXT.to_owned()),
            };
            // The end of the connection is the end of the answer.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n{text}"
            );
        }
    });
}

/// A server's pod whose application has these metrics, and whose sidecar has served a
/// request, as their metrics say.
fn pods() -> Pods {
    let mut pods = Pods::new();
    serve(pods.server.listen(dst("10.0.0.3", 9080)));
    application::serve(pods.server.listen(dst("10.0.0.3", 80)));
    let server = [
        ("NETTING_APPLICATION_METRICS", "9080/metrics"),
        ("NETTING_POD_NAME", "orders-1"),
        ("NETTING_POD_NAMESPACE", "shop"),
        ("NETTING_WORKLOAD_NAME", "orders"),
    ];
    pods.mesh_with([&[], &server]);
    let asked = application::ask(&pods.connect(80), "/200", "");
    asked.expect("it is answered");
    let ours = "http_server_request_duration_seconds_count{";
    sidecar::wait_for(&pods.server, "/metrics", ours);
    pods
}

/// What is scraped there, of which promtool has nothing to say.
fn checked(target: &str) -> String {
    let (_, text) = query::get(target, "/metrics").expect("it is scraped");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed by `hack/test.sh telemetry`");
    let mut stdin = promtool.stdin.take().expect("it is piped");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{target}: {said}: {text}"
    );
    text
}

#[test]
fn promtool_has_nothing_to_say_about_both_in_one() {
    let pods = pods();
    let text = pods.node.run(|| checked("10.0.0.3:15020"));
    assert!(text.contains("netting_build_info{"), "{text}");
}

#[test]
fn prometheus_scrapes_two_sidecars_and_the_catalog() {
    const REQUESTS: u32 = 50;
    let mut pods = Pods::new();
    application::serve(pods.server.listen(dst("10.0.0.3", 80)));
    let _control_plane = pods.node.run(ControlPlane::start);
    pods.start_sidecars([&[], &[]]);
    let stream = pods.connect(80);
    for _ in 0..REQUESTS {
        let asked = application::ask(&stream, "/200", "");
        asked.expect("it is answered");
    }
    pods.node.run(|| {
        let targets = ["10.0.0.1:15020", "10.0.0.2:15020", "10.0.0.3:15020"];
        let texts = targets.map(checked);
        assert!(
            texts[0].contains("\nnetting_catalog_streams{"),
            "{}",
            texts[0]
        );
        let prometheus = Prometheus::start(&targets.join("\", \""));
        let orders = r#"service_peer_name="orders",service_peer_namespace="shop""#;
        for (query, value) in [
            ("sum(up)".to_owned(), 3),
            ("netting_catalog_streams".to_owned(), 2),
            ("sum(netting_discovery_connected)".to_owned(), 2),
            (
                format!("sum(http_client_request_duration_seconds_count{{{orders}}})"),
                REQUESTS,
            ),
            (
                "sum(http_server_request_duration_seconds_count)".to_owned(),
                REQUESTS,
            ),
        ] {
            let expected = Some(f64::from(value));
            until_eq(&query, expected, || promql(prometheus.port, &query));
        }
    });
}

#[test]
fn another_parser_finds_each_family_once() {
    let pods = pods();
    let output = pods.node.run(|| {
        python("exposition.py")
            .arg("http://10.0.0.3:15020/metrics")
            .output()
    });
    let output = output.expect("Python can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let families = String::from_utf8_lossy(&output.stdout);
    for family in [
        "target",
        "process_cpu_seconds",
        "process_memory_usage_bytes",
        "http_server_request_duration_seconds",
        "netting_build_info",
        "netting_tcp_connections_opened",
    ] {
        let times = families.lines().filter(|name| *name == family).count();
        assert_eq!(times, 1, "{family}: {families}");
    }
}

#[test]
fn a_scrape_says_whose_it_is_by_one_target_info() {
    let pods = pods();
    pods.node.run(|| {
        let prometheus = Prometheus::start("10.0.0.3:15020");
        let ask = |query: &str| promql(prometheus.port, query);
        let count = "http_server_request_duration_seconds_count";
        let theirs = format!(r#"{count}{{otel_scope_name!="netting"}}"#);
        until_eq(&theirs, Some(7.0), || ask(&theirs));
        let ours = format!(r#"{count}{{otel_scope_name="netting"}}"#);
        until_eq(&ours, Some(1.0), || ask(&ours));
        // What either says of the pod, in one series.
        let both = r#"count(target_info{service_name="shop",telemetry_sdk_language="java",
            k8s_pod_name="orders-1",k8s_namespace_name="shop",netting_version!=""})"#;
        until_eq(both, Some(1.0), || ask(both));
        let all = "count(target_info)";
        until_eq(all, Some(1.0), || ask(all));
        let joined =
            "sum(netting_build_info * on (job, instance) group_left (service_name) target_info)";
        until_eq(joined, Some(1.0), || ask(joined));
    });
}

/// What an application may answer that is asked for metrics and has none, or not only.
const NO_EXPOSITIONS: [(&str, &str); 4] = [
    (
        "application/json",
        "{\"status\":\"UP\",\n\"groups\": [\"a\"]\n}\n",
    ),
    (
        "text/html; charset=utf-8",
        "<!doctype html>\n<html><head>\n<title>Shop</title>\n</head>\nLoading 1 page\n</html>\n",
    ),
    (
        "text/plain; version=0.0.4",
        "# TYPE theirs gauge\ntheirs 1\nno number\n# TYPE a thing\na{b=\"c} 1\na{b=c} 1\na 1 soon\n",
    ),
    (
        "application/openmetrics-text; version=1.0.0",
        "# by hand\n# TYPE theirs gauge\n# HELP theirs \ntheirs 1\ntheirs{a=\"b\",} 1\na  1\n# UNIT a b\n# EOF\n",
    ),
];

#[test]
fn an_application_that_answers_with_something_else_costs_its_own_metrics_alone() {
    let pods = Pods::new();
    for ((kind, text), port) in NO_EXPOSITIONS.into_iter().zip(9080..) {
        let listener = pods.server.listen(dst("10.0.0.3", port));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.read(&mut [0; 4096]);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n");
                let _ = stream.write_all((head + text).as_bytes());
            }
        });
    }
    for ((kind, text), port) in NO_EXPOSITIONS.into_iter().zip(9080..) {
        let application = format!("{port}/metrics");
        let server = [("NETTING_APPLICATION_METRICS", application.as_str())];
        let _sidecar = Sidecar::start_with(&pods.server, &server);
        pods.node.run(|| {
            let prometheus = Prometheus::start("10.0.0.3:15020");
            let malformed = r#"netting_application_scrapes_total{outcome="malformed"} > 0"#;
            until(kind, || promql(prometheus.port, malformed));
            // Whatever a busy machine made of one scrape, the next one is as good.
            let theirs = text.contains("theirs").then_some(1.0);
            for (query, expected) in [("up", Some(1.0)), ("theirs", theirs)] {
                let what = format!("{query} of {kind}");
                until_eq(&what, expected, || promql(prometheus.port, query));
            }
        });
    }
}

/// As FastAPI with a mounted application of Prometheus' client: redirects to `/metrics/`,
/// absolutely, by the `Host` that it is asked for, and is slow to add all up there.
fn serve_slowly(listener: TcpListener) {
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
            if head.starts_with("get /metrics/ ") {
                thread::spawn(move || answer_slowly(stream));
                continue;
            }
            let host = head.lines().find_map(|line| line.strip_prefix("host: "));
            let host = host.expect("HTTP/1.1 has it");
            let _ = write!(
                stream,
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{host}/metrics/\r\n\
                 content-length: 0\r\n\r\n"
            );
        }
    });
}

/// Longer than the sidecar waits for scrapers that do not say how long they do.
const SLOW: Duration = Duration::from_secs(9);

fn answer_slowly(mut stream: TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nfirst 1\n");
    thread::sleep(SLOW);
    let _ = stream.write_all(b"last 1\n");
}

#[test]
fn a_slow_application_that_redirects_is_scraped_as_it_would_be_without_the_sidecar() {
    let pods = Pods::new();
    serve_slowly(pods.server.listen(dst("10.0.0.3", 9080)));
    let server = [("NETTING_APPLICATION_METRICS", "9080/metrics")];
    let _sidecar = Sidecar::start_with(&pods.server, &server);
    pods.node.run(|| {
        let config = "global: {scrape_interval: 15s, scrape_timeout: 15s}\n\
                      scrape_configs:\n- job_name: scraped\n  \
                      static_configs: [{targets: [\"10.0.0.3:15020\", \"10.0.0.3:9080\"]}]\n";
        let prometheus = Prometheus::configured(directory(), config);
        // From the sidecar as from the application itself.
        for query in ["sum(up)", "sum(first)", "sum(last)"] {
            until_eq(query, Some(2.0), || promql(prometheus.port, query));
        }
    });
}
