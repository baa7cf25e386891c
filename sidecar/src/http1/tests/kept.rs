//! Requests that are sent over a connection that was kept, and ends: with real sockets.

use std::time::Duration;

use netting_proto::v1;
use socket2::SockRef;
use tokio::net::UnixStream;

use super::{
    policy::{before, on_503, retrying},
    *,
};
use crate::proxy::chain::Tells;

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

fn without_retries() -> v1::ServicePolicy {
    v1::ServicePolicy {
        retries: Some(0),
        ..Default::default()
    }
}

/// A client's connection and the application's behind it, after a first request.
async fn kept(addr: std::net::SocketAddr, app: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(addr).await;
    let mut client = client.expect("it listens");
    say(&mut client, GET).await;
    let mut app = accept(app).await;
    expect(&mut app, GET).await;
    say(&mut app, OK).await;
    expect(&mut client, OK).await;
    (client, app)
}

/// Has a request sent over a connection whose end the proxy has not seen yet: both are
/// there at once, and another task is first.
async fn say_as_it_ends(client: &mut TcpStream, request: &str, app: TcpStream) {
    let (end, ends) = UnixStream::pair().expect("there are descriptors left");
    let is_waiting = std::rc::Rc::new(tokio::sync::Notify::new());
    let waits = std::rc::Rc::clone(&is_waiting);
    let ending = spawn_local(async move {
        waits.notify_one();
        ends.readable().await.expect("the test is there");
        drop(app);
    });
    is_waiting.notified().await;
    end.try_write(b"x").expect("there is room");
    let wrote = client.try_write(request.as_bytes());
    assert_eq!(wrote.expect("there is room"), request.len());
    ending.await.expect("it does not panic");
}

#[tokio::test(flavor = "local")]
async fn what_the_upstream_ended_before_is_sent_again_whatever_the_method_and_policy() {
    for policy in [v1::ServicePolicy::default(), without_retries()] {
        let (listener, addr) = listen().await;
        let chain = before(&[addr], policy).await;
        let (mut client, app) = kept(chain.addr, &listener).await;
        say_as_it_ends(&mut client, POST, app).await;
        let mut app = accept(&listener).await;
        expect(&mut app, POST).await;
        say(&mut app, OK).await;
        expect(&mut client, OK).await;
        assert_eq!(chain.retries("upstream_closed"), 1, "nobody had read it");
    }
}

#[tokio::test(flavor = "local")]
async fn an_application_that_ends_a_connection_as_it_is_used_is_asked_over_another() {
    let (listener, addr) = listen().await;
    let (_inbound, addr) = Chain::behind(addr, &Tells::default()).await;
    let (mut client, app) = kept(addr, &listener).await;
    say_as_it_ends(&mut client, POST, app).await;
    let mut app = accept(&listener).await;
    expect(&mut app, POST).await;
    say(&mut app, OK).await;
    expect(&mut client, OK).await;
}

/// How an application ends that was asked over a kept connection, of whose request it
/// may have read all or a part.
#[derive(Clone, Copy, Debug)]
enum Ends {
    AfterReading,
    BreaksOff,
    AfterReadingAPart,
}

impl Ends {
    async fn end(self, mut app: TcpStream, request: &str) {
        match self {
            Ends::AfterReading => expect(&mut app, request).await,
            Ends::BreaksOff => {
                expect(&mut app, request).await;
                let set = SockRef::from(&app).set_linger(Some(Duration::ZERO));
                set.expect("a socket can be set so");
            }
            Ends::AfterReadingAPart => expect(&mut app, &request[..1]).await,
        }
    }
}

const ALL: [Ends; 3] = [Ends::AfterReading, Ends::BreaksOff, Ends::AfterReadingAPart];

#[tokio::test(flavor = "local")]
async fn what_the_upstream_may_have_read_is_not_sent_again_unless_asked() {
    let asked_in_vain = v1::ServicePolicy {
        retries: Some(0),
        ..retrying(on_503())
    };
    for (policy, request) in [
        (v1::ServicePolicy::default(), GET),
        (v1::ServicePolicy::default(), POST),
        (retrying(on_503()), POST),
        (asked_in_vain, GET),
    ] {
        for ends in ALL {
            let (listener, addr) = listen().await;
            let chain = before(&[addr], policy.clone()).await;
            let (mut client, app) = kept(chain.addr, &listener).await;
            say(&mut client, request).await;
            ends.end(app, request).await;
            let fault = "HTTP/1.1 502 Bad Gateway\r\n";
            expect(&mut client, fault).await;
            assert_eq!(chain.retries("upstream_closed"), 0, "{ends:?} {request}");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn what_an_application_may_have_read_is_not_sent_to_it_again() {
    for ends in ALL {
        let (listener, addr) = listen().await;
        let (_inbound, addr) = Chain::behind(addr, &Tells::default()).await;
        let (mut client, app) = kept(addr, &listener).await;
        say(&mut client, GET).await;
        ends.end(app, GET).await;
        expect(&mut client, "HTTP/1.1 502 Bad Gateway\r\n").await;
    }
}

#[tokio::test(flavor = "local")]
async fn what_may_be_done_twice_is_sent_again_if_asked() {
    for ends in ALL {
        let (listener, addr) = listen().await;
        let chain = before(&[addr], retrying(on_503())).await;
        let (mut client, app) = kept(chain.addr, &listener).await;
        say(&mut client, GET).await;
        ends.end(app, GET).await;
        let mut app = accept(&listener).await;
        expect(&mut app, GET).await;
        say(&mut app, OK).await;
        expect(&mut client, OK).await;
        assert_eq!(chain.retries("upstream_closed"), 1);
    }
}

#[tokio::test(flavor = "local")]
async fn a_request_that_begins_slowly_is_sent_again_whole_if_asked() {
    let (app, addr) = listen().await;
    let chain = before(&[addr], retrying(on_503())).await;
    let mut client = chain.connect().await;
    let (early, late) = GET.split_at(5);
    say(&mut client, early).await;
    let mut first = accept(&app).await;
    expect(&mut first, early).await;
    say(&mut client, late).await;
    expect(&mut first, late).await;
    drop(first);
    let mut second = accept(&app).await;
    expect(&mut second, GET).await;
    say(&mut second, OK).await;
    expect(&mut client, OK).await;
}
