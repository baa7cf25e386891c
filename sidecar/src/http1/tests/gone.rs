//! Clients that go while their requests wait for an answer.

use std::time::Duration;

use netting_proto::v1;
use socket2::SockRef;

use super::{policy::before, *};
use crate::http::idle::ASK_EVERY;

#[tokio::test(flavor = "local")]
async fn a_client_that_ended_and_broke_off_waits_for_nothing() {
    let narrow = v1::ServicePolicy {
        max_pending: Some(1),
        ..Default::default()
    };
    let (app, addr) = listen().await;
    let chain = before(&[addr], narrow).await;
    let mut gone = chain.connect().await;
    say(&mut gone, GET).await;
    let mut first = accept(&app).await;
    expect(&mut first, GET).await;
    gone.shutdown().await.expect("it is connected");
    let end = first.read(&mut [0]).await.expect("the connection holds");
    assert_eq!(end, 0, "its end is passed on");
    let set = SockRef::from(&gone).set_linger(Some(Duration::ZERO));
    set.expect("a socket can be set so");
    drop(gone);
    tokio::time::pause();
    tokio::time::advance(ASK_EVERY).await;
    tokio::time::resume();
    chain.outbound.proxy.http1.waiters.look();
    // Nothing is in the way of the next one.
    let mut next = chain.connect().await;
    say(&mut next, GET).await;
    let mut second = accept(&app).await;
    expect(&mut second, GET).await;
    say(&mut second, OK).await;
    expect(&mut next, OK).await;
}
