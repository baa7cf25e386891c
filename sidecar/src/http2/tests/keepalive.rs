//! Upstreams that vanish while streams wait for them.

use netting_proto::v1;
use tokio::time::sleep;

use super::{
    policy::{get, never_ejecting},
    *,
};
use crate::proxy::chain::{PING_INTERVAL, SERVICE, know};

/// An endpoint with a sidecar that takes a connection, greets, and then says this
/// often that it is alive; whatever is sent to it, it does not answer.
async fn mute(pongs: usize) -> (Chain, Rc<Cell<usize>>) {
    const PING: u8 = 6;
    const ACK: u8 = 1;
    let (listener, addr) = listen().await;
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    spawn_local(async move {
        let (mut stream, _) = listener.accept().await.expect("the proxy connects");
        let greeting = rules::frame(rules::SETTINGS, 0, 0, &[]);
        stream.write_all(&greeting).await.expect("it is connected");
        let mut preface = [0; 24];
        let read = stream.read_exact(&mut preface).await;
        read.expect("the proxy speaks first");
        while let Ok((kind, payload)) = rules::next_frame(&mut stream).await {
            if kind != PING {
                continue;
            }
            count.set(count.get() + 1);
            if count.get() <= pongs {
                let pong = rules::frame(PING, ACK, 0, &payload);
                stream.write_all(&pong).await.expect("it is connected");
            }
        }
    });
    let meshed = v1::Workload {
        meshed: true,
        ..Default::default()
    };
    let chain = Chain::to_service(&[addr], never_ejecting(), Some(meshed)).await;
    (chain, asked)
}

/// What the thread of the connections does now and then.
async fn look_after(chain: &Chain) {
    loop {
        sleep(PING_INTERVAL / 5).await;
        chain.outbound.proxy.http2.pool.sweep();
    }
}

#[tokio::test(flavor = "local")]
async fn a_stream_does_not_wait_for_an_upstream_that_has_vanished() {
    let (chain, asked) = mute(3).await;
    let mut client = client(&chain).await;
    let response = tokio::select! {
        response = ask(&mut client, get()) => response.expect("it is answered"),
        () = look_after(&chain) => unreachable!("it looks for ever"),
    };
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(
        response.headers()["proxy-status"],
        "netting; error=connection_read_timeout; details=\"upstream_silent\""
    );
    assert_eq!(asked.get(), 4, "it was there as long as it answered");
    let failed = chain.requests(&[r#"error_type="upstream_silent""#]);
    assert_eq!(failed, 1, "{}", chain.metrics.expose());
}

#[tokio::test(flavor = "local")]
async fn a_stream_does_not_wait_for_an_upstream_that_the_catalog_took_away() {
    let (chain, asked) = mute(1).await;
    let mut client = client(&chain).await;
    let lose = async {
        while chain.count("netting_tcp_connect_duration_seconds_count", &[]) < 1 {
            tokio::task::yield_now().await;
        }
        know(&chain.outbound.view, SERVICE.into(), &[]);
        look_after(&chain).await;
    };
    let asks = tokio::time::timeout(PING_INTERVAL * 200, ask(&mut client, get()));
    let response = tokio::select! {
        response = asks => response.expect("in time").expect("it is answered"),
        () = lose => unreachable!("it looks for ever"),
    };
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(asked.get(), 2, "it was there as long as it answered");
}

#[tokio::test(flavor = "local")]
async fn nobody_is_asked_while_no_stream_waits() {
    let (chain, asked) = mute(0).await;
    let mut client = client(&chain).await;
    let (response, _) = client.send_request(get(), true).expect("it is connected");
    while chain.count("netting_tcp_connect_duration_seconds_count", &[]) < 1 {
        tokio::task::yield_now().await;
    }
    drop(response);
    let idle = tokio::time::timeout(PING_INTERVAL * 8, look_after(&chain)).await;
    assert!(idle.is_err(), "it looks for ever");
    assert_eq!(asked.get(), 0);
}
