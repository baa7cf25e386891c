//! How many series a sidecar keeps, for how long, and with which labels.

use crate::{application, harness::namespace::dst, pods::Pods, process::until, query};

const COUNT: &str = "http_server_request_duration_seconds_count{";
const SERIES_MAX: f64 = 16.0;

/// What the server's sidecar says now, which is never more than it may, nor what it may
/// not.
fn scrape(pods: &Pods) -> Vec<String> {
    let scraped = pods
        .node
        .run(|| query::get("10.0.0.3:15020", "/instruments"));
    let (_, text) = scraped.expect("it is scraped");
    let series = text
        .lines()
        .find_map(|line| line.strip_prefix("netting_telemetry_series ")?.parse().ok());
    let series: f64 = series.expect("it says how many there are");
    assert!(series <= SERIES_MAX, "{text}");
    assert!(!text.contains("network_protocol_version"), "{text}");
    let counts = text.lines().filter(|line| line.starts_with(COUNT));
    counts.map(ToOwned::to_owned).collect()
}

#[test]
fn series_are_bounded_dropped_when_idle_and_looked_up_again_once_there_is_room() {
    let mut pods = Pods::new();
    application::serve(pods.server.listen(dst("10.0.0.3", 80)));
    let server = [
        ("NETTING_METRICS_SERIES_MAX", "16"),
        ("NETTING_METRICS_IDLE", "200ms"),
        ("NETTING_METRICS_LABELS_DENY", "network.protocol.version"),
    ];
    pods.mesh_with([&[], &server]);
    let stream = pods.connect(80);
    let ask = |path| application::ask(&stream, path, "").expect("it is answered");
    for path in ["/200", "/404", "/410", "/418", "/500"] {
        ask(path);
    }
    let is_overflow = |line: &String| line.contains(r#"otel_metric_overflow="true""#);
    until("what finds no room is counted together", || {
        scrape(&pods).into_iter().find(is_overflow)
    });
    until(
        "what is idle is dropped, though its connection stays",
        || scrape(&pods).iter().all(is_overflow).then_some(()),
    );
    until("what found no room has a series of its own", || {
        ask("/500");
        let own = r#"http_response_status_code="500""#;
        scrape(&pods).into_iter().find(|line| line.contains(own))
    });
}
