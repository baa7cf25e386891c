//! All parts together, from the API server to a sidecar and back out.

use std::time::Duration;

use clap::Parser as _;
use kube::Config;
use netting_proto::v1::{
    self, catalog_client::CatalogClient, stream_request::Kind, stream_response::Kind as Message,
};
use netting_runtime::Drained;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::{
    test_api::FakeApi,
    test_cluster::{addr, member, service, slice},
};

mod traces;

async fn free_port() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("there is a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, addr)
}

async fn ask(addr: std::net::SocketAddr, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: catalog\r\n{fields}connection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers in UTF-8");
    answer
}

fn args(telemetry: &str) -> Args {
    let telemetry = format!("--telemetry={telemetry}");
    let args = ["netting-catalog", "--trace-ratio=1", &telemetry];
    Args::try_parse_from(args).expect("the flags are right")
}

/// A sidecar's stream that asks for an address; it is open while the first of both is kept.
async fn subscribe(
    catalog: std::net::SocketAddr,
    address: &str,
) -> (impl Sized, tonic::Streaming<v1::StreamResponse>) {
    let uri = format!("http://{catalog}");
    let endpoint = tonic::transport::Endpoint::from_shared(uri).expect("an address is a URI");
    let channel = endpoint.connect().await.expect("it listens");
    let mut catalog = CatalogClient::new(channel);
    let (requests, queue) = mpsc::channel(4);
    let subscriptions = vec![v1::Subscription {
        address: Some(addr(address).into()),
        known_hash: Vec::new(),
    }];
    let hello = v1::Hello {
        namespace: "shop".to_owned(),
        pod: "web-1".to_owned(),
        ..v1::Hello::default()
    };
    for kind in [
        Kind::Hello(hello),
        Kind::Subscribe(v1::Subscribe { subscriptions }),
    ] {
        let request = v1::StreamRequest { kind: Some(kind) };
        requests.send(request).await.expect("there is room");
    }
    let opened = catalog.stream(ReceiverStream::new(queue)).await;
    let responses = opened.expect("the stream is accepted").into_inner();
    ((catalog, requests), responses)
}

async fn hear(responses: &mut tonic::Streaming<v1::StreamResponse>) -> Message {
    let response = responses.message().await.expect("the stream is fine");
    let response = response.expect("the stream is open");
    response
        .kind
        .expect("the catalog says what this version knows")
}

#[tokio::test]
async fn what_the_api_server_says_reaches_sidecars_and_people() {
    let api = FakeApi::start().await;
    let ports = json!([{"name": "http", "port": 80}]);
    api.list("services", vec![service("cart", "10.96.0.1", ports)]);
    let client = Client::try_from(Config::new(api.uri())).expect("an address is enough");
    let args = args("prometheus");
    let (readiness, drain) = (Readiness::new(), Drain::new());
    let ((grpc, grpc_addr), (http, http_addr)) = (free_port().await, free_port().await);
    let listeners = Listeners { grpc, http };
    let telemetry = telemetry(&args, &drain);
    serve(&args, &client, listeners, &telemetry, &readiness, &drain);

    let (stream, mut responses) = subscribe(grpc_addr, "10.96.0.1:80").await;
    assert!(matches!(hear(&mut responses).await, Message::Welcome(_)));
    let Message::Snapshot(empty) = hear(&mut responses).await else {
        panic!("the service has been listed");
    };
    assert!(empty.endpoints.is_empty());
    assert!(
        readiness.missing().is_empty(),
        "whoever is answered may be sent here"
    );

    api.watched("endpointslices").await;
    let ports = json!([{"name": "http", "port": 8080}]);
    let members = json!([member("10.244.0.1", "cart-1")]);
    api.event(
        "endpointslices",
        "ADDED",
        slice("a", "cart", ports, members),
    );
    let Message::Snapshot(snapshot) = hear(&mut responses).await else {
        panic!("an endpoint came");
    };
    assert_eq!(snapshot.endpoints.len(), 1);
    let answer = ask(http_addr, "/v1/health/service/cart.shop?passing", "").await;
    assert!(answer.contains("10.244.0.1"), "{answer}");

    let drained = drain.run(Duration::from_secs(30), std::future::pending());
    let ended = async {
        let ended = responses.message().await;
        drop((stream, responses));
        ended.expect_err("it is told why").code()
    };
    let (drained, code) = tokio::join!(drained, ended);
    assert_eq!(
        (drained, code),
        (Drained::Complete, tonic::Code::Unavailable)
    );
}
