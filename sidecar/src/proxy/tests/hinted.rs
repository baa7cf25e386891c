//! Connections to the application, whose protocol Kubernetes objects name.

use std::net::SocketAddr;

use netting_proto::v1;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::spawn_local,
};

use super::chain::{Chain, Tells, listen};
use crate::{addr::OriginalDst, view::View};

/// No proxy that looks into HTTP passes it on.
const NO_REQUEST: &str = "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";

/// An application that says all it heard.
async fn echo() -> SocketAddr {
    let (listener, addr) = listen().await;
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            spawn_local(async move {
                let mut heard = Vec::new();
                let _ = stream.read_to_end(&mut heard).await;
                let _ = stream.write_all(&heard).await;
            });
        }
    });
    addr
}

async fn say(to: SocketAddr, text: &str) -> String {
    let mut client = TcpStream::connect(to).await.expect("it listens");
    let said = client.write_all(text.as_bytes()).await;
    said.expect("the connection holds");
    client.shutdown().await.expect("the connection holds");
    let mut answer = String::new();
    let read = client.read_to_string(&mut answer).await;
    read.expect("the connection holds");
    answer
}

fn name(view: &View, app: SocketAddr, protocol: &str) {
    let snapshot = v1::Snapshot {
        address: Some(app.into()),
        destination: Some(v1::Destination {
            protocol_hint: protocol.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    view.snapshot(snapshot).expect("a good snapshot");
}

#[tokio::test(flavor = "local")]
async fn a_named_protocol_counts_once_it_is_known_and_nobody_waits_for_that() {
    let app = echo().await;
    let (inbound, addr) = Chain::behind(app, &Tells::default()).await;
    let view = &inbound.view;
    view.connected();
    let looked_into = async |when: &str| {
        let answer = say(addr, NO_REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{when}: {answer}");
    };
    looked_into("the catalog is silent").await;
    assert_eq!(view.take_pending().subscribe, [OriginalDst(app)]);
    name(view, app, "redis");
    for _ in 0..2 {
        assert_eq!(say(addr, NO_REQUEST).await, NO_REQUEST);
    }
    name(view, app, "http");
    looked_into("it is HTTP").await;
    name(view, app, "");
    looked_into("nobody names it").await;
    let asked = view.take_pending();
    assert!(asked.subscribe.is_empty() && asked.unsubscribe.is_empty());
}
