use std::net::Ipv4Addr;

use netting_proto::v1;
use tokio::net::TcpListener;

use super::*;
use crate::{balance::Unit, destination::Destination, proxy::chain::full};

const CONNECTOR: Connector = Connector {
    timeout: Duration::from_millis(100),
    pass_through_timeout: Duration::from_millis(200),
    user_timeout: None,
};

fn destination(endpoints: &[SocketAddr]) -> Destination {
    let endpoint = |addr: &SocketAddr| v1::Endpoint {
        address: Some((*addr).into()),
        ready: true,
        serving: true,
        ..Default::default()
    };
    let snapshot = v1::Snapshot {
        destination: Some(v1::Destination::default()),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..Default::default()
    };
    Destination::from_snapshot(snapshot, None, &crate::destination::Place::default())
        .expect("a good snapshot")
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, addr)
}

/// A port that refuses: bound, and given back.
async fn closed() -> SocketAddr {
    listener().await.1
}

async fn connect_first(destination: &Destination) -> Result<Upstream, ConnectError> {
    let choose =
        |without: &[EndpointAddr]| destination.choose(Unit::Connection, without, Instant::now());
    let first = choose(&[]).expect("there are endpoints");
    CONNECTOR.endpoint(first, |tried| choose(&[tried])).await
}

#[tokio::test]
async fn a_refused_connect_says_so_and_is_counted() {
    let destination = destination(&[closed().await]);
    let failed = connect_first(&destination)
        .await
        .expect_err("nobody listens");
    assert_eq!(failed.reason, Reason::ConnectRefused);
    assert_eq!(destination.endpoints[0].failed(), 1);
    assert_eq!(destination.endpoints[0].open(), 0);
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_given_up_in_time() {
    let (addr, _full) = full().await;
    let begun = Instant::now();
    let failed = connect_first(&destination(&[addr]))
        .await
        .expect_err("it is full");
    assert_eq!(failed.reason, Reason::ConnectTimeout);
    assert!(begun.elapsed() >= CONNECTOR.timeout);
}

#[tokio::test]
async fn an_endpoint_is_not_blamed_for_a_request_that_had_little_time_left() {
    let (addr, _full) = full().await;
    for (left, blamed) in [
        (Some(Duration::from_millis(2)), 0),
        (Some(CONNECTOR.timeout * 10), 1),
        (None, 1),
    ] {
        let destination = destination(&[addr]);
        let first = destination.choose(Unit::Request, &[], Instant::now());
        let first = first.expect("there is one");
        let until = left.map(|left| Instant::now() + left);
        let failed = CONNECTOR.one(first, until).await.expect_err("it is full");
        assert_eq!(failed.reason, Reason::ConnectTimeout);
        assert_eq!(destination.endpoints[0].failed(), blamed, "{left:?}");
    }
}

#[tokio::test]
async fn a_refusal_counts_however_little_time_was_left() {
    let destination = destination(&[closed().await]);
    let first = destination.choose(Unit::Request, &[], Instant::now());
    let first = first.expect("there is one");
    let until = Some(Instant::now() + CONNECTOR.timeout / 2);
    let failed = CONNECTOR.one(first, until).await;
    assert_eq!(
        failed.expect_err("nobody listens").reason,
        Reason::ConnectRefused
    );
    assert_eq!(destination.endpoints[0].failed(), 1);
}

#[tokio::test]
async fn a_failed_connect_is_tried_once_more_elsewhere() {
    let (_listening, open) = listener().await;
    let destination = destination(&[closed().await, open]);
    let mut retried = 0;
    for _ in 0..20 {
        let upstream = connect_first(&destination)
            .await
            .expect("one of them listens");
        assert_eq!(upstream.addr, open);
        retried += usize::from(upstream.retried == Some(Reason::ConnectRefused));
    }
    // The first failure makes the dead one be left alone for a while.
    assert!(retried <= 1, "{retried}");
}

#[tokio::test]
async fn when_both_tries_fail_the_connection_has_no_upstream() {
    let destination = destination(&[closed().await, closed().await, closed().await]);
    let failed = connect_first(&destination)
        .await
        .expect_err("nobody listens");
    assert_eq!(failed.reason, Reason::ConnectRefused);
    let failures: u64 = destination.endpoints.iter().map(|e| e.failed()).sum();
    assert_eq!(failures, 2);
}

#[tokio::test]
async fn a_connection_counts_at_its_endpoint_until_it_is_dropped() {
    let (_listening, open) = listener().await;
    let destination = destination(&[open]);
    let upstream = connect_first(&destination).await.expect("it listens");
    assert_eq!(
        (
            destination.endpoints[0].open(),
            destination.endpoints[0].opened()
        ),
        (1, 1)
    );
    drop(upstream);
    assert_eq!(
        (
            destination.endpoints[0].open(),
            destination.endpoints[0].opened()
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn a_connection_that_meets_itself_is_refused() {
    let socket = TcpSocket::new_v4().expect("a socket");
    let bound = socket.bind((Ipv4Addr::LOCALHOST, 0).into());
    bound.expect("a free port");
    let addr = socket.local_addr().expect("it is bound");
    let stream = socket.connect(addr).await.expect("it meets itself");
    let refused = to_another(stream, addr).expect_err("nobody is there");
    assert_eq!(Reason::of_connect(&refused), Reason::ConnectRefused);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let stream = TcpStream::connect(addr).await.expect("somebody listens");
    let other = to_another(stream, addr).expect("somebody is there");
    drop((listener, other));
}
