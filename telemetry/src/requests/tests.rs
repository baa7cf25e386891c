use std::time::Duration;

use super::*;
use crate::{
    instrument::TraceContext,
    registry::{LabelFilter, Settings},
};

const ENDED: Ended<'_> = Ended {
    method: Method::Get,
    version: Version::Http11,
    status: Some(200),
    error: None,
    call: None,
    took: Duration::from_millis(7),
    sent: 0,
    received: 2000,
    trace: None,
};
const REVIEWS: Peer<'_> = Peer {
    name: "reviews",
    namespace: "shop",
    port: 9080,
};

fn assert_exposed(metrics: &Metrics, series: &[&str]) {
    let exposition = metrics.expose();
    for series in series {
        let is_there = exposition.lines().any(|line| line == *series);
        assert!(is_there, "{series} is not in\n{exposition}");
    }
}

#[test]
fn an_inbound_request_is_one_of_a_server() {
    let metrics = Metrics::new("test", "0");
    let requests = RequestMetrics::register(&metrics).of(Direction::Inbound);
    requests.ended(&ENDED);
    requests.ended(&Ended {
        status: Some(404),
        method: Method::Other,
        version: Version::Http2,
        ..ENDED
    });
    requests.ended(&Ended {
        status: Some(503),
        ..ENDED
    });
    let active = requests.begin(Method::Post);
    assert_exposed(
        &metrics,
        &[
            r#"http_server_request_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",network_protocol_version="1.1",url_scheme="http",le="0.005"} 0"#,
            r#"http_server_request_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",network_protocol_version="1.1",url_scheme="http",le="0.01"} 1"#,
            r#"http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="404",network_protocol_version="2",url_scheme="http"} 1"#,
            r#"http_server_request_duration_seconds_count{error_type="503",http_request_method="GET",http_response_status_code="503",network_protocol_version="1.1",url_scheme="http"} 1"#,
            r#"http_server_response_body_size_bytes_sum{http_request_method="GET",http_response_status_code="200",network_protocol_version="1.1",url_scheme="http"} 2000"#,
            r#"http_server_active_requests{http_request_method="POST",url_scheme="http"} 1"#,
        ],
    );
    drop(active);
    assert_exposed(
        &metrics,
        &[r#"http_server_active_requests{http_request_method="POST",url_scheme="http"} 0"#],
    );
}

#[test]
fn an_outbound_request_is_one_of_a_client_and_names_its_peer() {
    let metrics = Metrics::new("test", "0");
    let requests = RequestMetrics::register(&metrics).to(REVIEWS);
    requests.ended(&Ended {
        status: Some(404),
        ..ENDED
    });
    requests.ended(&Ended {
        status: Some(502),
        error: Some("connect_refused"),
        ..ENDED
    });
    requests.ended(&Ended {
        status: None,
        error: Some("downstream_reset"),
        ..ENDED
    });
    requests.retried("upstream_closed");
    let peer = r#"server_address="reviews.shop",server_port="9080",service_peer_name="reviews",service_peer_namespace="shop""#;
    let get = r#"http_request_method="GET""#;
    let count = "http_client_request_duration_seconds_count";
    let version = r#"network_protocol_version="1.1""#;
    assert_exposed(
        &metrics,
        &[
            &format!(
                r#"{count}{{error_type="404",{get},http_response_status_code="404",{version},{peer}}} 1"#
            ),
            &format!(
                r#"{count}{{error_type="connect_refused",{get},http_response_status_code="502",{version},{peer}}} 1"#
            ),
            &format!(r#"{count}{{error_type="downstream_reset",{get},{version},{peer}}} 1"#),
            &format!(
                r#"netting_http_request_retries_total{{direction="outbound",reason="upstream_closed",{peer}}} 1"#
            ),
        ],
    );
}

#[test]
fn a_grpc_call_is_told_by_its_status() {
    let metrics = Metrics::new("test", "0");
    let requests = RequestMetrics::register(&metrics);
    let call = |status| Ended {
        call: Some(Call {
            path: "/shop.Reviews/List",
            status,
        }),
        ..ENDED
    };
    let (inbound, outbound) = (
        requests.of(Direction::Inbound),
        requests.of(Direction::Outbound),
    );
    inbound.ended(&call(Some(0)));
    inbound.ended(&call(Some(5)));
    inbound.ended(&call(Some(14)));
    outbound.ended(&call(Some(5)));
    outbound.ended(&call(Some(4711)));
    outbound.ended(&Ended {
        error: Some("upstream_reset"),
        ..call(None)
    });
    assert_exposed(
        &metrics,
        &[
            r#"rpc_server_call_duration_seconds_count{rpc_response_status_code="OK",rpc_system_name="grpc"} 1"#,
            r#"rpc_server_call_duration_seconds_count{rpc_response_status_code="NOT_FOUND",rpc_system_name="grpc"} 1"#,
            r#"rpc_server_call_duration_seconds_count{error_type="UNAVAILABLE",rpc_response_status_code="UNAVAILABLE",rpc_system_name="grpc"} 1"#,
            r#"rpc_client_call_duration_seconds_count{error_type="NOT_FOUND",rpc_response_status_code="NOT_FOUND",rpc_system_name="grpc"} 1"#,
            r#"rpc_client_call_duration_seconds_count{error_type="UNKNOWN",rpc_response_status_code="UNKNOWN",rpc_system_name="grpc"} 1"#,
            r#"rpc_client_call_duration_seconds_count{error_type="upstream_reset",rpc_system_name="grpc"} 1"#,
        ],
    );
}

#[test]
fn calls_are_told_apart_by_their_method_only_if_that_is_wanted() {
    let settings = Settings {
        labels: LabelFilter {
            allow: vec!["rpc.method".to_owned()],
            deny: vec!["rpc.system.name".to_owned()],
        },
        ..Settings::default()
    };
    let metrics = Metrics::of(labels::none(), settings, "test", "0");
    let requests = RequestMetrics::register(&metrics).of(Direction::Inbound);
    requests.ended(&Ended {
        call: Some(Call {
            path: "/shop.Reviews/List",
            status: Some(0),
        }),
        ..ENDED
    });
    assert_exposed(
        &metrics,
        &[
            r#"rpc_server_call_duration_seconds_count{rpc_method="shop.Reviews/List",rpc_response_status_code="OK"} 1"#,
        ],
    );
}

#[test]
fn methods_that_are_too_many_are_counted_together() {
    let settings = Settings {
        labels: LabelFilter {
            allow: vec!["rpc.method".to_owned()],
            ..LabelFilter::default()
        },
        ..Settings::default()
    };
    let metrics = Metrics::of(labels::none(), settings, "test", "0");
    let requests = RequestMetrics::register(&metrics).of(Direction::Inbound);
    for number in 0..2_000 {
        let path = format!("/shop.Reviews/List{number}");
        for _ in 0..2 {
            let call = Call {
                path: &path,
                status: Some(0),
            };
            requests.ended(&Ended {
                call: Some(call),
                ..ENDED
            });
        }
    }
    let exposition = metrics.expose();
    let count = "rpc_server_call_duration_seconds_count{";
    let counts: Vec<u64> = exposition
        .lines()
        .filter_map(|line| line.strip_prefix(count)?.split_once("} "))
        .map(|(_, value)| value.parse().expect("it is a count"))
        .collect();
    assert!((100..300).contains(&counts.len()), "{}", counts.len());
    assert_eq!(counts.iter().sum::<u64>(), 4_000);
    assert!(exposition.contains("otel_metric_overflow=\"true\""));
}

#[test]
fn buckets_are_as_the_team_wants_them() {
    let settings = Settings {
        duration_bounds: Some([0.5].into()),
        ..Settings::default()
    };
    let metrics = Metrics::of(labels::none(), settings, "test", "0");
    RequestMetrics::register(&metrics).to(REVIEWS).ended(&ENDED);
    let exposition = metrics.expose();
    let buckets = exposition
        .matches("http_client_request_duration_seconds_bucket")
        .count();
    assert_eq!(buckets, 2, "{exposition}");
}

#[test]
fn a_sampled_request_is_an_example_of_its_bucket() {
    let metrics = Metrics::new("test", "0");
    let trace = TraceContext {
        trace: [7; 16],
        span: [9; 8],
    };
    RequestMetrics::register(&metrics)
        .to(REVIEWS)
        .ended(&Ended {
            trace: Some(trace),
            ..ENDED
        });
    let text = crate::prometheus::text(&metrics.snapshot(), crate::prometheus::Format::OpenMetrics);
    assert!(
        text.contains(
            r#"# {trace_id="07070707070707070707070707070707",span_id="0909090909090909"} 0.007 "#
        ),
        "{text}"
    );
}

#[test]
fn an_application_with_a_thousand_statuses_fills_no_memory() {
    let metrics = Metrics::new("test", "0");
    let requests = RequestMetrics::register(&metrics).of(Direction::Inbound);
    for status in 0..1000 {
        for method in Method::ALL {
            requests.ended(&Ended {
                method,
                status: Some(status),
                ..ENDED
            });
        }
    }
    let exposition = metrics.expose();
    let counts = exposition
        .lines()
        .filter(|line| line.starts_with("http_server_request_duration_seconds_count"));
    let counts: Vec<&str> = counts.collect();
    assert!(counts.len() < 400, "{}", counts.len());
    let count = |line: &&str| {
        line.rsplit(' ')
            .next()
            .and_then(|count| count.parse::<u64>().ok())
    };
    assert_eq!(counts.iter().filter_map(count).sum::<u64>(), 11_000);
}

/// Metrics of which each is dropped that nothing was recorded into between two looks.
fn forgetful(series_max: usize) -> Metrics {
    let settings = Settings {
        idle_after: Duration::ZERO,
        series_max,
        ..Settings::default()
    };
    Metrics::of(labels::none(), settings, "test", "0")
}

#[test]
fn idle_series_go_on_the_inbound_side_and_of_a_peer_in_use() {
    let metrics = forgetful(100);
    let all = RequestMetrics::register(&metrics);
    for requests in [all.of(Direction::Inbound), all.to(REVIEWS)] {
        let count = |ended: u64| {
            let exposition = metrics.expose();
            let of = |line: &&str| line.contains("request_duration_seconds_count{");
            let of: Vec<_> = exposition.lines().filter(of).collect();
            let value = of
                .first()
                .and_then(|line| line.rsplit(' ').next()?.parse().ok());
            assert_eq!(value.unwrap_or(0), ended, "{exposition}");
            assert!(of.len() < 2, "{exposition}");
        };
        for _ in 0..2 {
            requests.ended(&ENDED);
            drop(requests.begin(Method::Get));
            requests.retried("upstream_closed");
            count(1);
            count(0);
            let left = metrics.expose();
            assert!(!left.contains("http_"), "{left}");
        }
    }
}

#[test]
fn a_request_that_met_the_cap_has_a_series_of_its_own_once_there_is_room() {
    let metrics = forgetful(4);
    let requests = RequestMetrics::register(&metrics).to(REVIEWS);
    let failed = Ended {
        status: Some(503),
        ..ENDED
    };
    requests.ended(&ENDED);
    requests.ended(&failed);
    let count = "http_client_request_duration_seconds_count";
    let overflow = format!("{count}{{otel_metric_overflow=\"true\"}}");
    assert_exposed(&metrics, &[&format!("{overflow} 1")]);
    requests.ended(&failed);
    assert_exposed(&metrics, &[&format!("{overflow} 2")]);
    // Nobody asks for anything else by now.
    requests.ended(&failed);
    let exposition = metrics.expose();
    let own = |line: &&str| line.starts_with(count) && line.contains("error_type=\"503\"");
    let own = exposition.lines().find(own).unwrap_or_default();
    assert!(own.ends_with(" 1"), "{exposition}");
}
