//! Real streams over real sockets.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use netting_proto::v1::{
    catalog_client::CatalogClient, stream_request::Kind, stream_response::Kind as Message,
};
use netting_telemetry::Metrics;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, transport::Endpoint};

use super::*;
use crate::test_cluster::{Object, addr, member, pod, service, slice, with};

mod abuse;
mod pace;
mod states;

const CART: &str = "10.96.0.1:80";

/// A catalog on a free port, with an index that tests fill.
struct Server {
    addr: SocketAddr,
    publisher: Arc<Publisher>,
    metrics: Metrics,
    drain: Drain,
}

fn limits() -> Limits {
    Limits {
        streams_max: 100,
        subscriptions_max: 1000,
        heartbeat_interval: Duration::from_secs(10),
    }
}

impl Server {
    /// A catalog that has listed an empty cluster.
    async fn synced() -> Self {
        Self::with(limits(), true).await
    }

    async fn with(limits: Limits, synced: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there is a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let publisher = Arc::new(Publisher::new());
        if synced {
            publisher.set_synced();
        }
        let metrics = Metrics::new("test", "0");
        let drain = Drain::new();
        let streams = Streams::new(
            Arc::clone(&publisher),
            CatalogMetrics::register(&metrics),
            limits,
            drain.clone(),
        );
        drain.spawn(async move {
            streams
                .serve(listener)
                .await
                .expect("it serves until the drain");
        });
        Self {
            addr,
            publisher,
            metrics,
            drain,
        }
    }

    fn apply(&self, object: &Value) {
        self.publisher.update(SystemTime::now(), |index| {
            Object::parse(object).apply(index)
        });
    }

    fn delete(&self, object: &Value) {
        self.publisher.update(SystemTime::now(), |index| {
            Object::parse(object).delete(index)
        });
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.addr)).expect("an address is a URI")
    }

    /// As another pod reaches it.
    fn endpoint_from(&self, pod: IpAddr) -> Endpoint {
        self.endpoint().local_address(Some(pod))
    }

    /// A stream on a connection of its own.
    async fn open(&self) -> Client {
        Client::open(self.endpoint())
            .await
            .expect("the stream is accepted")
    }

    /// A stream on which Hello and Welcome have been said.
    async fn welcomed(&self) -> Client {
        self.welcomed_as("").await
    }

    /// The same, for the sidecar of a pod.
    async fn welcomed_as(&self, pod: &str) -> Client {
        let hello = v1::Hello {
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            ..Default::default()
        };
        self.greeted(hello).await
    }

    /// The same, for a sidecar on a node.
    async fn welcomed_on(&self, node: &str) -> Client {
        let hello = v1::Hello {
            node: node.to_owned(),
            ..Default::default()
        };
        self.greeted(hello).await
    }

    async fn greeted(&self, hello: v1::Hello) -> Client {
        let mut client = self.open().await;
        client.say(Kind::Hello(hello)).await;
        assert!(matches!(client.hear().await, Message::Welcome(_)));
        client
    }

    /// Waits until what streams followed is given up.
    async fn assert_nothing_followed(&self) {
        while self.publisher.sizes().1 > 0 {
            tokio::task::yield_now().await;
        }
    }

    fn assert_counted(&self, series: &str) {
        let exposition = self.metrics.expose();
        assert!(
            exposition.contains(series),
            "{series} is not in\n{exposition}"
        );
    }
}

struct Client {
    requests: mpsc::Sender<v1::StreamRequest>,
    responses: Streaming<v1::StreamResponse>,
}

impl Client {
    async fn open(endpoint: Endpoint) -> Result<Self, Status> {
        let channel = endpoint.connect().await.expect("the catalog listens");
        let (requests, queue) = mpsc::channel(16);
        let mut catalog = CatalogClient::new(channel);
        let opened = catalog.stream(ReceiverStream::new(queue));
        Ok(Self {
            requests,
            responses: opened.await?.into_inner(),
        })
    }

    async fn say(&self, kind: Kind) {
        let request = v1::StreamRequest { kind: Some(kind) };
        self.requests
            .send(request)
            .await
            .expect("the stream is open");
    }

    async fn subscribe(&self, address: &str, known_hash: &[u8]) {
        let subscription = v1::Subscription {
            address: Some(addr(address).into()),
            known_hash: known_hash.to_vec(),
        };
        let subscriptions = vec![subscription];
        self.say(Kind::Subscribe(v1::Subscribe { subscriptions }))
            .await;
    }

    async fn hear(&mut self) -> Message {
        let response = self.responses.message().await;
        let response = response
            .expect("the stream is fine")
            .expect("the stream is open");
        response
            .kind
            .expect("the catalog says what this version knows")
    }

    async fn snapshot(&mut self) -> v1::Snapshot {
        match self.hear().await {
            Message::Snapshot(snapshot) => snapshot,
            other => panic!("no snapshot: {other:?}"),
        }
    }

    async fn delta(&mut self) -> v1::Delta {
        match self.hear().await {
            Message::Delta(delta) => delta,
            other => panic!("no delta: {other:?}"),
        }
    }

    async fn beat(&self, sequence: u64) {
        self.say(Kind::Heartbeat(v1::Heartbeat { sequence })).await;
    }

    /// How the stream ends, whatever is said before that.
    async fn ended(&mut self) -> Option<Status> {
        loop {
            match self.responses.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    }
}

fn cart() -> Value {
    service("cart", "10.96.0.1", json!([{"name": "http", "port": 80}]))
}

fn behind(members: &[Value]) -> Value {
    let ports = json!([{"name": "http", "port": 8080}]);
    slice("cart-a", "cart", ports, json!(members))
}

/// So many endpoints, of which the first so many are not ready.
fn pods(count: usize, not_ready: usize) -> Vec<Value> {
    let pods = (0..count).map(|at| {
        let ip = format!("10.244.{}.{}", at / 250, at % 250 + 1);
        let member = member(&ip, &format!("cart-{at}"));
        with(
            member,
            "/conditions",
            json!({"ready": at >= not_ready, "serving": true}),
        )
    });
    pods.collect()
}
