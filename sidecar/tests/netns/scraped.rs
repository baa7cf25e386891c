//! The application's own metrics through the admin port, as Prometheus asks for them:
//! from another node, which the peer stands for.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpListener,
    thread,
};

use super::{
    FAMILIES,
    harness::{PATIENCE, catalog, namespace::dst, pod::Pod},
};

/// Scrapes the admin port at an address of the pod, and returns the whole answer.
fn scrape(pod: &Pod, ip: &str, path: &str) -> io::Result<String> {
    let mut stream = pod.peer_connect(dst(ip, 15020))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Tells the first line of what it was asked as a metric.
fn serve(listener: TcpListener) {
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..read]);
            let line = head.lines().next().unwrap_or_default();
            // The end of the connection is the end of the answer.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\r\n\
                 asked{{line=\"{line}\"}} 1\n"
            );
        }
    });
}

#[test]
fn without_prometheus_the_command_is_answered_and_the_application_alone_is_scraped() {
    let environment = [
        ("NETTING_TELEMETRY", "statsd=udp://127.0.0.1:8125"),
        ("NETTING_APPLICATION_METRICS", "9080/"),
    ];
    for (environment, status) in [
        (&environment[..1], "HTTP/1.1 404 "),
        (&environment, "HTTP/1.1 200 "),
    ] {
        let known = catalog::Known::default();
        let pod = Pod::start_with(environment, |listener| catalog::serve(listener, known));
        serve(pod.listen(dst("127.0.0.1", 9080)));
        let scraped = pod.admin("/metrics");
        assert!(scraped.starts_with(status), "{scraped}");
        let told = pod.admin("/instruments");
        assert!(told.contains("\nnetting_build_info{"), "{told}");
        assert!(!told.contains("asked{"), "{told}");
    }
}

#[test]
fn a_list_that_is_not_in_force_is_told_with_its_reason() {
    let environment = [("NETTING_TELEMETRY_LEFT_OUT", "otlp=collector:4317")];
    let known = catalog::Known::default();
    let pod = Pod::start_with(&environment, |listener| catalog::serve(listener, known));
    let config = pod.admin("/config");
    let told = r#""left_out":[{"item":"otlp=collector:4317","why":"is no URL"#;
    assert!(config.contains(told), "{config}");
}

#[test]
fn one_scrape_finds_the_applications_metrics_and_the_sidecars() {
    let environment = [(
        "NETTING_APPLICATION_METRICS",
        "9080/stats?format=prometheus",
    )];
    let known = catalog::Known::default();
    let pod = Pod::start_with(&environment, |listener| catalog::serve(listener, known));
    let ours = "# TYPE netting_tcp_connections_opened_total counter\n";
    for family in FAMILIES {
        let alone = scrape(&pod, family.pod, "/metrics").expect("it answers");
        assert!(alone.contains(ours) && !alone.contains("asked{"), "{alone}");
        serve(pod.listen(dst(family.pod, 9080)));
        let both = scrape(&pod, family.pod, "/metrics?name=a%20b").expect("it answers");
        let theirs = "asked{line=\"GET /stats?format=prometheus&name=a%20b HTTP/1.1\"} 1\n";
        assert!(both.contains(theirs) && both.contains(ours), "{both}");
    }
    let own = pod.admin("/instruments");
    let passed = "netting_application_scrapes_total{outcome=\"passed\"} 2\n";
    let unreachable = "netting_application_scrapes_total{outcome=\"unreachable\"} 2\n";
    assert!(own.contains(passed) && own.contains(unreachable), "{own}");
}

#[test]
fn where_each_port_is_scraped_at_a_path_the_sidecar_answers_there_too() {
    for (path, status) in [
        ("/actuator/prometheus", "HTTP/1.1 200 "),
        ("/actuator", "HTTP/1.1 404 "),
        // It stays what it is.
        ("/ready", "HTTP/1.1 200 "),
    ] {
        let told = match path {
            "/ready" => path,
            _ => "/actuator/prometheus",
        };
        let environment = [("NETTING_METRICS_PATH", told)];
        let known = catalog::Known::default();
        let pod = Pod::start_with(&environment, |listener| catalog::serve(listener, known));
        for family in FAMILIES {
            let answer = scrape(&pod, family.pod, path).expect("it answers");
            assert!(answer.starts_with(status), "{path}: {answer}");
            let has_metrics = answer.contains("\nnetting_build_info{");
            assert_eq!(has_metrics, path == "/actuator/prometheus", "{answer}");
        }
        assert!(pod.admin("/metrics").contains("\nnetting_build_info{"));
    }
}
