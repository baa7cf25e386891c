//! Requests that make a tunnel of their connection.

use super::*;
use crate::{proxy::chain::SERVICE, view::Found};

#[tokio::test(flavor = "local")]
async fn an_upgrade_becomes_a_tunnel() {
    let ask = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let (_chain, mut client, mut app) = between(ask, ask).await;
    let yes =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    say(&mut app, &format!("{yes}early")).await;
    expect(&mut client, &format!("{yes}early")).await;
    say(&mut client, "\0\x01 anything \r\n").await;
    expect(&mut app, "\0\x01 anything \r\n").await;
    client.shutdown().await.expect("it is connected");
    assert_eq!(rest(&mut app).await.expect("a clean end"), "");
    say(&mut app, "late").await;
    drop(app);
    assert_eq!(rest(&mut client).await.expect("a clean end"), "late");
}

#[tokio::test(flavor = "local")]
async fn connect_becomes_a_tunnel_if_it_is_accepted() {
    let ask = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let (_chain, mut client, mut app) = between(ask, ask).await;
    say(&mut app, "HTTP/1.1 200 OK\r\n\r\n").await;
    expect(&mut client, "HTTP/1.1 200 OK\r\n\r\n").await;
    say(&mut client, "\x16\x03\x01").await;
    expect(&mut app, "\x16\x03\x01").await;
    let (_chain, mut client, mut app) = between(ask, ask).await;
    let no = "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n";
    say(&mut app, no).await;
    expect(&mut client, no).await;
    say(&mut client, GET).await;
    expect(&mut app, GET).await;
}

/// Requests that are under way at the service's endpoint, as the client's proxy sees it.
async fn under_way(chain: &Chain) -> usize {
    match chain.outbound.view.find(OriginalDst(SERVICE.into())).await {
        Found::Destination(_, known) => known.endpoints[0].requests(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_counts_at_its_endpoint_as_long_as_it_lasts() {
    let ask = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    let (chain, mut client, mut app) = between(ask, ask).await;
    assert_eq!(under_way(&chain).await, 1);
    let yes = "HTTP/1.1 200 OK\r\n\r\n";
    say(&mut app, yes).await;
    expect(&mut client, yes).await;
    for _ in 0..3 {
        say(&mut client, "ping").await;
        expect(&mut app, "ping").await;
        assert_eq!(under_way(&chain).await, 1);
    }
    drop((client, app));
    while under_way(&chain).await > 0 {
        tokio::task::yield_now().await;
    }
}
