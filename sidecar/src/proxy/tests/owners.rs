//! Two workloads behind one service are told apart.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;
use netting_proto::v1;
use tokio::task::yield_now;

use super::super::{
    Inbound,
    chain::{Chain, SERVICE, listen},
};
use super::*;

/// Which is ready for one request after another.
const PHASES: [usize; 3] = [0, 1, 0];
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An application, and how much it was asked.
type Serves = (SocketAddr, Rc<Cell<u64>>);

/// The client's proxy alone.
async fn proxied() -> Chain {
    let inbound = Inbound {
        proxy: proxy(Direction::Inbound, &Metrics::new("test", "0")),
        view: view(),
    };
    Chain::to(&[], inbound).await
}

/// Lets the proxy know of a release and its canary, only one of which is ready.
fn make_ready(chain: &Chain, apps: &[(&Serves, &str)], ready: usize) {
    let endpoint = |(index, ((addr, _), owner)): (usize, &(&Serves, &str))| v1::Endpoint {
        address: Some((*addr).into()),
        ready: index == ready,
        workload: (!owner.is_empty()).then(|| v1::Workload {
            owner_kind: "Deployment".to_owned(),
            owner_name: (*owner).to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let snapshot = v1::Snapshot {
        address: Some(SocketAddr::from(SERVICE).into()),
        destination: Some(v1::Destination {
            namespace: "shop".to_owned(),
            name: "reviews".to_owned(),
            ..Default::default()
        }),
        endpoints: apps.iter().enumerate().map(endpoint).collect(),
        ..Default::default()
    };
    chain.outbound.view.snapshot(snapshot).expect("it is good");
}

fn owner(name: &str) -> String {
    format!(r#"k8s_dst_owner_name="{name}",k8s_dst_owner_type="Deployment""#)
}

/// Whether each has its own, and there is nothing else.
async fn assert_each_has_its_own(chain: &Chain, apps: &[(&Serves, &str)], metric: &str) {
    let all: u64 = apps.iter().map(|((_, served), _)| served.get()).sum();
    while chain.count(metric, &[]) < all {
        yield_now().await;
    }
    for (((_, served), name), expected) in apps.iter().zip([2, 1]) {
        assert_eq!(served.get(), expected, "{name}");
        let counted = chain.count(metric, &[&owner(name)]);
        assert_eq!(counted, expected, "{metric} of {name}");
    }
    assert_eq!(chain.count(metric, &[]), all, "{metric}");
}

async fn http1() -> Serves {
    let (listener, addr) = listen().await;
    let served = Rc::new(Cell::new(0));
    let serves = (addr, Rc::clone(&served));
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let served = Rc::clone(&served);
            spawn_local(async move {
                let (mut head, mut length) = ([0; 1024], 0);
                while let Ok(read @ 1..) = stream.read(&mut head[length..]).await {
                    length += read;
                    if head[..length].ends_with(b"\r\n\r\n") {
                        length = 0;
                        served.set(served.get() + 1);
                        stream.write_all(ANSWER).await.expect("the proxy reads");
                    }
                }
            });
        }
    });
    serves
}

async fn http2() -> Serves {
    let (listener, addr) = listen().await;
    let served = Rc::new(Cell::new(0));
    let serves = (addr, Rc::clone(&served));
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let served = Rc::clone(&served);
            spawn_local(async move {
                let mut connection = h2::server::handshake(stream).await.expect("it speaks");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    served.set(served.get() + 1);
                    let response = http::Response::builder().header("grpc-status", "0");
                    let response = response.body(()).expect("it is good");
                    drop(respond.send_response(response, true));
                }
            });
        }
    });
    serves
}

/// Says its name to whoever connects.
async fn opaque() -> Serves {
    let (listener, addr) = listen().await;
    let served = Rc::new(Cell::new(0));
    let serves = (addr, Rc::clone(&served));
    spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            served.set(served.get() + 1);
            stream.write_all(b"x").await.expect("the proxy reads");
        }
    });
    serves
}

async fn ask_over_http1(client: &mut TcpStream) {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(request).await.expect("the proxy reads");
    let mut answer = [0; ANSWER.len()];
    let read = client.read_exact(&mut answer).await;
    read.expect("it is answered");
}

#[tokio::test(flavor = "local")]
async fn requests_over_http1() {
    let (release, canary) = (http1().await, http1().await);
    let apps = [(&release, "reviews-v1"), (&canary, "reviews-v2")];
    let chain = proxied().await;
    make_ready(&chain, &apps, 0);
    let mut client = chain.connect().await;
    for ready in PHASES {
        make_ready(&chain, &apps, ready);
        ask_over_http1(&mut client).await;
    }
    let requests = "http_client_request_duration_seconds_count";
    assert_each_has_its_own(&chain, &apps, requests).await;
    let connects = "netting_tcp_connect_duration_seconds_count";
    for name in ["reviews-v1", "reviews-v2"] {
        assert!(chain.count(connects, &[&owner(name)]) > 0, "{name}");
        let received = chain.count("netting_tcp_received_bytes_total", &[&owner(name)]);
        assert!(received > 0, "{name}");
    }
}

#[tokio::test(flavor = "local")]
async fn calls_over_http2() {
    let (release, canary) = (http2().await, http2().await);
    let apps = [(&release, "reviews-v1"), (&canary, "reviews-v2")];
    let chain = proxied().await;
    make_ready(&chain, &apps, 0);
    let (client, connection) = h2::client::handshake(chain.connect().await)
        .await
        .expect("it speaks");
    spawn_local(connection);
    let mut client: h2::client::SendRequest<Bytes> = client;
    for ready in PHASES {
        make_ready(&chain, &apps, ready);
        client = client.ready().await.expect("it takes one");
        let request = http::Request::post("http://a/shop.Reviews/List")
            .header("content-type", "application/grpc")
            .body(())
            .expect("it is good");
        let (response, _) = client.send_request(request, true).expect("it takes one");
        response.await.expect("it is answered");
    }
    for metric in [
        "http_client_request_duration_seconds_count",
        "rpc_client_call_duration_seconds_count",
    ] {
        assert_each_has_its_own(&chain, &apps, metric).await;
    }
}

#[tokio::test(flavor = "local")]
async fn connections_that_are_relayed() {
    let (release, canary) = (opaque().await, opaque().await);
    let apps = [(&release, "reviews-v1"), (&canary, "reviews-v2")];
    let chain = proxied().await;
    for ready in PHASES {
        make_ready(&chain, &apps, ready);
        let said = answer(chain.connect().await).await;
        assert_eq!(said.expect("it answers"), "x");
    }
    for metric in [
        "netting_tcp_received_bytes_total",
        "netting_tcp_connections_closed_total",
    ] {
        assert_each_has_its_own(&chain, &apps, metric).await;
    }
}

#[tokio::test(flavor = "local")]
async fn one_workload_has_as_many_series_as_one_that_is_not_known() {
    let mut series = Vec::new();
    for name in ["", "reviews"] {
        let app = http1().await;
        let chain = proxied().await;
        make_ready(&chain, &[(&app, name)], 0);
        ask_over_http1(&mut chain.connect().await).await;
        while app.1.get() > chain.requests(&[]) {
            yield_now().await;
        }
        let exposition = chain.metrics.expose();
        let names = exposition.lines().filter_map(|line| line.split('{').next());
        let mut names: Vec<String> = names.map(ToOwned::to_owned).collect();
        names.retain(|name| !name.starts_with('#') && !name.starts_with("process"));
        series.push(names);
    }
    assert_eq!(series[0], series[1]);
}
