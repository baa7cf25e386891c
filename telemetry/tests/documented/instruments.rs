//! Each instrument, used once.

use std::time::{Duration, SystemTime};

use netting_telemetry::{
    Metrics,
    admission::{AdmissionMetrics, CertificateMetrics, EventMetrics},
    catalog::CatalogMetrics,
    connections::{ConnectionMetrics, Direction},
    discovery::DiscoveryMetrics,
    peer::{Owner, Peer},
    probes::ProbeMetrics,
    requests::{Call, Ended, Method, Version},
    traffic::TrafficMetrics,
};

/// Every kind of thing that a sidecar counts, once.
pub(crate) fn sidecar(metrics: &Metrics) {
    let connections = ConnectionMetrics::register(metrics).of(Direction::Outbound);
    connections.carries("http1");
    connections.passed_through("unknown_address");
    connections.refused("own_port");
    connections.reached("pool_full");
    let traffic = TrafficMetrics::register(metrics);
    let peer = Peer {
        name: "reviews",
        namespace: "shop",
        port: 9080,
    };
    let owner = Owner {
        kind: "Deployment",
        name: "reviews-v1",
    };
    for traffic in [traffic.of(Direction::Inbound), traffic.to(peer)] {
        traffic.requests.retried("upstream_closed");
        drop(traffic.requests.begin(Method::Get));
    }
    let of_owner = traffic.to(peer).at(owner);
    for traffic in [traffic.of(Direction::Inbound), traffic.to(peer), of_owner] {
        traffic.sent(1);
        traffic.received(1);
        traffic.closed("finished");
        traffic.ejected("failures_in_a_row");
        traffic.connected(Duration::ZERO, Some("connect_refused"));
        traffic.requests.ended(&Ended {
            method: Method::Post,
            version: Version::Http2,
            status: Some(503),
            error: Some("connect_refused"),
            call: Some(Call {
                path: "/shop.Reviews/List",
                status: Some(14),
            }),
            took: Duration::ZERO,
            sent: 0,
            received: 0,
            trace: None,
        });
    }
    let discovery = DiscoveryMetrics::register(metrics);
    discovery.message("snapshot");
    discovery.propagated(Duration::ZERO);
    ProbeMetrics::register(metrics).asked("liveness", "passed");
    let application = "9080/metrics".parse().expect("a port and a path");
    drop(metrics.router_with(application));
}

/// The same of the webhook.
pub(crate) fn webhook(metrics: &Metrics) {
    let admission = AdmissionMetrics::register(metrics);
    admission.answered("skip", "host_network", Duration::ZERO);
    admission.decided(Duration::ZERO);
    let certificate = CertificateMetrics::register(metrics);
    certificate.serves_until(SystemTime::UNIX_EPOCH);
    certificate.refuses(false);
    EventMetrics::register(metrics).wrote();
}

/// The same of the catalog.
pub(crate) fn catalog(metrics: &Metrics) {
    let catalog = CatalogMetrics::register(metrics);
    catalog.stream_closed("silent");
    catalog.handed_over(Duration::ZERO);
    catalog.message("snapshot");
    catalog.ignored_request("bad_address");
    catalog.holds("services", 1);
    catalog.event("services", SystemTime::now());
    catalog.refused_item("services", "bad_annotation");
    catalog.watch_error("services", "forbidden");
}
