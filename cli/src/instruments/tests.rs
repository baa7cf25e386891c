//! What the parts of Netting expose, read again.

use std::time::Duration;

use netting_telemetry::{
    Metrics,
    catalog::CatalogMetrics,
    connections::{ConnectionMetrics, Direction},
    peer::Peer as To,
    requests::{Call, Ended, Method, RequestMetrics, Version},
};

use super::*;
use crate::exposition::samples;

const ENDED: Ended<'_> = Ended {
    method: Method::Get,
    version: Version::Http11,
    status: Some(200),
    error: None,
    call: None,
    took: Duration::from_millis(7),
    sent: 0,
    received: 0,
    trace: None,
};

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
}

#[test]
fn requests_are_read_as_the_sidecar_counts_them() {
    let metrics = Metrics::new("sidecar", "1.2.3");
    let requests = RequestMetrics::register(&metrics);
    let connections = ConnectionMetrics::register(&metrics);
    let inbound = requests.of(Direction::Inbound);
    for (status, error) in [
        (Some(200), None),
        (Some(404), None),
        (Some(503), None),
        (None, Some("upstream_closed")),
    ] {
        inbound.ended(&Ended {
            status,
            error,
            ..ENDED
        });
    }
    let call = |status| {
        Some(Call {
            path: "/shop.Reviews/List",
            status,
        })
    };
    inbound.ended(&Ended {
        call: call(Some(0)),
        ..ENDED
    });
    inbound.ended(&Ended {
        call: call(Some(14)),
        ..ENDED
    });
    let reviews = To {
        name: "reviews",
        namespace: "shop",
        port: 9080,
    };
    requests.to(reviews).ended(&ENDED);
    requests.of(Direction::Outbound).ended(&ENDED);
    connections.of(Direction::Inbound).opened.inc();
    connections.of(Direction::Outbound).opened.inc();

    let text = metrics.expose();
    let read = samples(&text).expect("it is well-formed");
    assert_eq!(version(&read).as_deref(), Some("1.2.3"));
    let counts = counted(&read).since(&Counted::default());
    assert!(close(counts.inbound.ended, 6.0), "{counts:?}");
    assert!(close(counts.inbound.failed, 3.0), "{counts:?}");
    let median = counts.inbound.durations.quantile(0.5);
    assert!(
        median.is_some_and(|seconds| (0.005..=0.01).contains(&seconds)),
        "{counts:?}"
    );
    assert!(close(counts.outbound.ended, 2.0), "{counts:?}");
    let reviews = Peer {
        namespace: "shop".to_owned(),
        name: "reviews".to_owned(),
        port: 9080,
    };
    assert!(close(counts.peers[&reviews].ended, 1.0), "{counts:?}");
    assert!(close(counts.connections, 1.0), "{counts:?}");
}

#[test]
fn what_differs_in_a_label_is_counted_apart() {
    let text = "\
        http_server_request_duration_seconds_bucket{path=\"a,b\",le=\"0.1\"} 2\n\
        http_server_request_duration_seconds_count{path=\"a,b\"} 3\n\
        http_server_request_duration_seconds_count{path=\"a\",b=\"\"} 4\n\
        rpc_server_call_duration_seconds_count{path=\"a,b\",rpc_response_status_code=\"14\",error_type=\"14\"} 1\n";
    let read = samples(text).expect("it is well-formed");
    let counted = counted(&read);
    let names = counted.requests.keys().map(|series| series.name.as_str());
    let http = "http_server_request_duration_seconds";
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            format!("{http}{{path=\"a\",b=\"\"}}"),
            format!("{http}{{path=\"a,b\"}}"),
            "rpc_server_call_duration_seconds{path=\"a,b\",rpc_response_status_code=\"14\",error_type=\"14\"}".to_owned(),
        ]
    );
}

#[test]
fn the_catalogs_last_news_are_read_as_it_tells_them() {
    let metrics = Metrics::new("catalog", "1.2.3");
    let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    CatalogMetrics::register(&metrics).event("pods", at);
    let text = metrics.expose();
    let read = samples(&text).expect("it is well-formed");
    assert_eq!(last_events(&read), [("pods", at)]);
}
