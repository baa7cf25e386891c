use std::{net::SocketAddr, num::NonZeroU32};

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{
    addr::OriginalDst,
    balance::Unit,
    destination::Chosen,
    proxy::chain::{know, listen, view},
    view::{Found, View},
};

const LIMITS: PoolLimits = PoolLimits {
    connections_max: 2,
    idle: Duration::from_secs(60),
};

/// A service with one endpoint, which listens.
struct Service {
    server: TcpListener,
    view: Arc<View>,
    endpoint: Arc<Endpoint>,
}

fn dst() -> SocketAddr {
    ([192, 0, 2, 10], 80).into()
}

async fn service() -> Service {
    let ((server, addr), view) = (listen().await, view());
    view.find(OriginalDst(dst())).await;
    know(&view, dst(), &[addr]);
    let Found::Destination(_, known) = view.find(OriginalDst(dst())).await else {
        panic!("it was made known");
    };
    let chosen: Option<Chosen> = known.choose(Unit::Request, &[], Instant::now());
    let endpoint = Arc::clone(chosen.expect("it has one").endpoint());
    Service {
        server,
        view,
        endpoint,
    }
}

async fn side(service: &Service) -> Side {
    let connected = TcpStream::connect(service.endpoint.addr.0).await;
    Side::new(connected.expect("it listens"))
}

fn local(side: &Side) -> SocketAddr {
    side.stream.local_addr().expect("it is connected")
}

#[tokio::test]
async fn gives_the_newest_back_first_and_keeps_no_more_than_it_may() {
    let (pool, service) = (Pool::new(LIMITS), service().await);
    let (mut addrs, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let side = side(&service).await;
        addrs.push(local(&side));
        kept.push(pool.put(&service.endpoint, side));
    }
    assert_eq!(kept, [true, true, false]);
    let take = || pool.take(service.endpoint.addr);
    assert_eq!(take().as_ref().map(local), Some(addrs[1]));
    assert_eq!(take().as_ref().map(local), Some(addrs[0]));
    assert!(take().is_none());
}

#[tokio::test]
async fn does_not_give_back_what_the_upstream_has_closed() {
    let (pool, service) = (Pool::new(LIMITS), service().await);
    let side = side(&service).await;
    let (accepted, _) = service.server.accept().await.expect("one connects");
    drop(accepted);
    side.stream.readable().await.expect("its end is told");
    pool.put(&service.endpoint, side);
    assert!(pool.take(service.endpoint.addr).is_none());
    assert_eq!(pool.waiting.borrow().count, 0);
}

#[tokio::test]
async fn lets_go_of_what_nobody_wants() {
    let (pool, service) = (Pool::new(LIMITS), service().await);
    pool.put(&service.endpoint, side(&service).await);
    pool.sweep();
    assert_eq!(pool.waiting.borrow().count, 1);
    tokio::time::pause();
    tokio::time::advance(LIMITS.idle).await;
    pool.sweep();
    assert!(pool.take(service.endpoint.addr).is_none());
}

#[tokio::test]
async fn lets_go_of_connections_to_an_endpoint_that_is_gone() {
    let (pool, service) = (Pool::new(LIMITS), service().await);
    pool.put(&service.endpoint, side(&service).await);
    know(&service.view, dst(), &[([127, 0, 0, 1], 9).into()]);
    pool.sweep();
    assert!(pool.take(service.endpoint.addr).is_none());
}

#[tokio::test(start_paused = true)]
async fn does_not_give_back_what_the_upstream_is_about_to_close() {
    let (pool, service) = (Pool::new(LIMITS), service().await);
    let take = || pool.take(service.endpoint.addr);
    for (kept_seconds, waited_millis, is_given) in [
        (None, 50_000, true),
        (Some(5), 3_900, true),
        (Some(5), 4_000, false),
        (Some(1), 0, false),
        (Some(u32::MAX), 50_000, true),
    ] {
        let mut side = side(&service).await;
        side.kept_seconds = kept_seconds.and_then(NonZeroU32::new);
        pool.put(&service.endpoint, side);
        tokio::time::advance(Duration::from_millis(waited_millis)).await;
        assert_eq!(
            take().is_some(),
            is_given,
            "{kept_seconds:?} {waited_millis}"
        );
    }
}
