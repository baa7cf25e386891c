//! What the sidecars say they saw, after real clients have called.

use crate::{
    harness::sidecar::admin,
    nginx,
    pods::{Pods, SERVICE},
    process::{Ended, run},
};

fn curl(pods: &Pods, arguments: &[&str]) -> Ended {
    run(pods.client_command("curl").arg("-sSi").args(arguments))
}

/// Whether both sidecars counted so many requests with this status.
fn assert_both_counted(pods: &Pods, status: u16, expected: u64) {
    for (pod, role) in [(&pods.client, "client"), (&pods.server, "server")] {
        let metrics = admin(pod, "/metrics").expect("the admin port answers");
        let name = format!("http_{role}_request_duration_seconds_count{{");
        let label = format!("http_response_status_code=\"{status}\"");
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with(&name) && line.contains(&label));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        assert_eq!(counts.sum::<u64>(), expected, "{label} {metrics}");
    }
}

#[test]
fn each_request_is_counted_whatever_connection_it_shares() {
    let mut pods = Pods::new();
    let _nginx = nginx::start(&pods);
    pods.mesh();
    let (http1, http2) = (
        format!("http://{SERVICE}/"),
        format!("http://{SERVICE}:8080/"),
    );
    let on_one_connection = [http1.as_str(); 10];
    assert_eq!(curl(&pods, &on_one_connection).code, Some(0));
    let load = ["-n90", "-c3", "-m10", &http2];
    assert_eq!(run(pods.client_command("h2load").args(load)).code, Some(0));
    assert_eq!(curl(&pods, &[&format!("{http1}missing")]).code, Some(0));
    assert_both_counted(&pods, 200, 100);
    assert_both_counted(&pods, 404, 1);
}

#[test]
fn what_is_inside_the_applications_tls_is_not_counted() {
    let mut pods = Pods::new();
    let _nginx = nginx::start(&pods);
    pods.mesh();
    let answer = curl(&pods, &["--insecure", &format!("https://{SERVICE}/")]);
    assert!(answer.stdout.starts_with("HTTP/2 200"), "{answer:?}");
    for pod in [&pods.client, &pods.server] {
        let metrics = admin(pod, "/metrics").expect("the admin port answers");
        let counted = metrics.lines().filter(|line| {
            line.contains("_request_duration_seconds_count{") && !line.ends_with(" 0")
        });
        assert_eq!(counted.count(), 0, "{metrics}");
    }
}

#[test]
fn a_port_that_nobody_listens_at_is_named() {
    let mut pods = Pods::new();
    let _nginx = nginx::start(&pods);
    pods.mesh();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = curl(&pods, &[version, &format!("http://{SERVICE}:3306/")]);
        assert_eq!(answer.code, Some(0), "{version}: {answer:?}");
        let status = answer.stdout.split(' ').nth(1);
        assert!(
            matches!(status, Some("502" | "503")),
            "{version}: {answer:?}"
        );
        assert!(
            answer.stdout.contains("proxy-status: netting; error="),
            "{answer:?}"
        );
    }
}
