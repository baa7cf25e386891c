//! What a pod's own network runs out of.

use std::{fs, net::SocketAddr};

use netting_proto::v1;
use netting_sidecar::{
    addr::EndpointAddr,
    balance::Unit,
    connect::Connector,
    destination::{Chosen, Destination, Place},
    reason::Reason,
};
use tokio::{net::TcpListener, time::Instant};

use crate::harness::{
    PATIENCE,
    namespace::{Namespace, dst},
};

const CONNECTOR: Connector = Connector {
    timeout: PATIENCE,
    pass_through_timeout: PATIENCE,
    user_timeout: None,
};

/// A service that has these endpoints, and ejects one that fails twice.
fn service(endpoints: &[SocketAddr]) -> Destination {
    let endpoint = |addr: &SocketAddr| v1::Endpoint {
        address: Some((*addr).into()),
        ready: true,
        ..Default::default()
    };
    let policy = v1::ServicePolicy {
        eject_after: Some(2),
        ..Default::default()
    };
    let snapshot = v1::Snapshot {
        destination: Some(v1::Destination {
            policy: Some(policy),
            ..Default::default()
        }),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    };
    Destination::from_snapshot(snapshot, None, &Place::default()).expect("a good snapshot")
}

async fn an_endpoint_without_a_port_is_left_for_another() {
    let endpoints = [dst("127.0.0.1", 8081), dst("127.0.0.2", 8082)];
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        listeners.push(TcpListener::bind(endpoint).await.expect("a free port"));
    }
    let service = service(&endpoints);
    let other = |tried: EndpointAddr| service.choose(Unit::Connection, &[tried], Instant::now());
    let first = || -> Chosen { other(EndpointAddr(endpoints[1])).expect("the first is left") };
    let taken = CONNECTOR.endpoint(first(), other).await;
    let taken = taken.expect("there is one port");
    assert_eq!((taken.addr, taken.retried), (endpoints[0], None));
    for _ in 0..10 {
        let moved = CONNECTOR.endpoint(first(), other).await;
        let moved = moved.expect("the port is free for the second");
        assert_eq!(moved.addr, endpoints[1]);
        assert_eq!(moved.retried, Some(Reason::LocalAddressUnavailable));
        // Not to be in the way of the next one.
        netting_sidecar::connect::reset(moved.stream);
        let failed = CONNECTOR.one(first(), None).await;
        let reason = failed.expect_err("there is no port").reason;
        assert_eq!(reason, Reason::LocalAddressUnavailable);
    }
    for endpoint in &service.endpoints {
        assert_eq!(endpoint.failed(), 0, "{endpoint:?}");
        assert_eq!(endpoint.ejected_until(Instant::now()), None, "{endpoint:?}");
    }
}

#[test]
fn an_endpoint_is_not_blamed_for_ports_that_the_pod_lacks() {
    let pod = Namespace::new("pod");
    pod.run(|| {
        let written = fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000");
        written.expect("this test needs root, and a writable /proc/sys");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(an_endpoint_without_a_port_is_left_for_another());
    });
}
