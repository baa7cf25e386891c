use std::{sync::Arc, time::Duration};

use super::*;
use crate::labels::{labels, none};
use crate::snapshot::Descriptor;

fn descriptor(name: &'static str, unit: &'static str) -> Descriptor {
    Descriptor {
        name,
        unit,
        description: "What it is",
    }
}

fn point<T>(labels: Labels, value: T) -> Point<T> {
    Point {
        labels,
        since: UNIX_EPOCH,
        value,
    }
}

fn snapshot() -> Snapshot {
    let distribution = Distribution {
        bounds: Arc::from([0.005, 1.0]),
        counts: vec![2, 0, 1],
        sum: 3.5,
        exponential: None,
        exemplars: vec![Exemplar {
            value: 3.25,
            at: UNIX_EPOCH + Duration::from_millis(1_800_000_000_250),
            trace: [0xab; 16],
            span: [1; 8],
        }],
    };
    Snapshot {
        resource: labels(&[
            ("k8s.pod.name", "a-1"),
            ("service.name", "a \"quoted\"\\ name\n"),
        ]),
        at: UNIX_EPOCH,
        metrics: vec![
            Metric {
                descriptor: descriptor("netting.tcp.sent", "By"),
                data: Data::Counter(vec![point(labels(&[("direction", "inbound")]), 7)]),
            },
            Metric {
                descriptor: descriptor("http.server.active_requests", "{request}"),
                data: Data::Gauge(vec![point(none(), 2.0)]),
            },
            Metric {
                descriptor: descriptor("http.server.request.duration", "s"),
                data: Data::Histogram(vec![point(
                    labels(&[("http.request.method", "GET")]),
                    distribution,
                )]),
            },
        ],
    }
}

#[test]
fn writes_the_text_format() {
    let expected = r#"# HELP target_info Target metadata
# TYPE target_info gauge
target_info{k8s_pod_name="a-1",service_name="a \"quoted\"\\ name\n"} 1
# HELP netting_tcp_sent_bytes_total What it is
# TYPE netting_tcp_sent_bytes_total counter
netting_tcp_sent_bytes_total{direction="inbound"} 7
# HELP http_server_active_requests What it is
# TYPE http_server_active_requests gauge
http_server_active_requests 2
# HELP http_server_request_duration_seconds What it is
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{http_request_method="GET",le="0.005"} 2
http_server_request_duration_seconds_bucket{http_request_method="GET",le="1"} 2
http_server_request_duration_seconds_bucket{http_request_method="GET",le="+Inf"} 3
http_server_request_duration_seconds_sum{http_request_method="GET"} 3.5
http_server_request_duration_seconds_count{http_request_method="GET"} 3
"#;
    assert_eq!(text(&snapshot(), Format::Text), expected);
}

#[test]
fn writes_openmetrics_with_units_exemplars_and_an_end() {
    let expected = r#"# HELP target Target metadata
# TYPE target info
target_info{k8s_pod_name="a-1",service_name="a \"quoted\"\\ name\n"} 1
# HELP netting_tcp_sent_bytes What it is
# TYPE netting_tcp_sent_bytes counter
# UNIT netting_tcp_sent_bytes bytes
netting_tcp_sent_bytes_total{direction="inbound"} 7
# HELP http_server_active_requests What it is
# TYPE http_server_active_requests gauge
http_server_active_requests 2
# HELP http_server_request_duration_seconds What it is
# TYPE http_server_request_duration_seconds histogram
# UNIT http_server_request_duration_seconds seconds
http_server_request_duration_seconds_bucket{http_request_method="GET",le="0.005"} 2
http_server_request_duration_seconds_bucket{http_request_method="GET",le="1.0"} 2
http_server_request_duration_seconds_bucket{http_request_method="GET",le="+Inf"} 3 # {trace_id="abababababababababababababababab",span_id="0101010101010101"} 3.25 1800000000.250
http_server_request_duration_seconds_sum{http_request_method="GET"} 3.5
http_server_request_duration_seconds_count{http_request_method="GET"} 3
# EOF
"#;
    assert_eq!(text(&snapshot(), Format::OpenMetrics), expected);
}

#[test]
fn for_scrapers_each_series_but_of_the_target_says_whose_it_is() {
    for format in [Format::Text, Format::OpenMetrics] {
        let (own, scraped) = (text(&snapshot(), format), scraped(&snapshot(), format));
        let mut series = 0;
        for (own, scraped) in own.lines().zip(scraped.lines()) {
            if own.starts_with(['#', 't']) {
                assert_eq!(own, scraped);
                continue;
            }
            series += 1;
            let scope = "otel_scope_name=\"netting\"";
            assert_eq!(scraped.matches(scope).count(), 1, "{scraped}");
            let without = [
                format!("{{{scope}}}"),
                format!(",{scope}"),
                format!("{scope},"),
            ];
            let without = without.iter().find(|part| scraped.contains(*part));
            let without = without.expect("it is one of these");
            assert_eq!(scraped.replacen(without, "", 1), own);
        }
        assert_eq!((series, own.lines().count()), (7, scraped.lines().count()));
    }
}

#[test]
fn joins_what_two_attributes_of_the_resource_say_under_one_name() {
    let mut snapshot = snapshot();
    snapshot.metrics.clear();
    snapshot.resource = labels(&[("a.b", "1"), ("a_b", "2")]);
    let text = text(&snapshot, Format::Text);
    assert!(text.ends_with("\ntarget_info{a_b=\"1;2\"} 1\n"), "{text}");
}
