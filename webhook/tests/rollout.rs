//! A rollout under load, with real processes: the next one starts, is ready, gets
//! requests; then this one is told to end. Clients keep their connections, as the API
//! server does, and ask at a constant rate. The part of kube-proxy is played by a
//! list of endpoints that changes a second after the kubelet's signal.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use netting_webhook::certificate::CaPem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use process::{HOST, Process};

#[path = "rollout/process.rs"]
#[allow(dead_code, reason = "the bench measures what this test does not")]
mod process;

const BINARY: &str = env!("CARGO_BIN_EXE_netting-webhook");
const RECORDED: &str = include_str!("fixtures/admission/edge-none-restricted.json");
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long it takes until no node sends anything to a replica that ends.
const PROPAGATION: Duration = Duration::from_secs(1);

/// Where the Service leads, and what is trusted there.
#[derive(Clone, Default)]
struct Service {
    endpoints: Vec<SocketAddr>,
    cas: Vec<CaPem>,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    answered: usize,
    reconnected: usize,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

struct Client {
    http2: bool,
    service: watch::Receiver<Service>,
    connection: Option<Connection>,
    connected: usize,
    body: Bytes,
    tally: Arc<watch::Sender<Tally>>,
}

impl Client {
    /// Asks until `over` is set. Every request must be answered.
    async fn ask_on(mut self, over: watch::Receiver<bool>) {
        let mut ticks = interval(ASK_EVERY);
        while !*over.borrow() {
            ticks.tick().await;
            self.ask().await;
            self.tally.send_modify(|tally| tally.answered += 1);
        }
    }

    async fn ask(&mut self) {
        loop {
            if !self.is_open().await {
                self.connect().await;
            }
            let request = self.request();
            let answered = match self.connection.as_mut().expect("it has just connected") {
                Connection::Http1(sender) => sender.send_request(request).await,
                Connection::Http2(sender) => sender.send_request(request).await,
            };
            match answered {
                Ok(response) => {
                    assert!(response.status().is_success(), "{}", response.status());
                    let whole = response.into_body().collect().await;
                    whole.expect("the answer is whole");
                    return;
                }
                // It has not been sent, which is when Go's client takes another
                // connection by itself too.
                Err(error) if error.is_canceled() => self.connection = None,
                Err(error) => panic!("a request was lost: {error:?}"),
            }
        }
    }

    async fn is_open(&mut self) -> bool {
        match &mut self.connection {
            Some(Connection::Http1(sender)) => sender.ready().await.is_ok(),
            Some(Connection::Http2(sender)) => sender.ready().await.is_ok(),
            None => false,
        }
    }

    async fn connect(&mut self) {
        let Service { endpoints, cas } = self.service.borrow().clone();
        let endpoint = endpoints[self.connected % endpoints.len()];
        if self.connected > 0 {
            self.tally.send_modify(|tally| tally.reconnected += 1);
        }
        self.connected += 1;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(cas.iter().filter_map(CaPem::der));
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        if self.http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let stream = TcpStream::connect(endpoint).await;
        let stream = stream.expect("who is in the list accepts connections");
        let name = HOST.try_into().expect("it is a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = TokioIo::new(stream.await.expect("it is trusted"));
        self.connection = Some(if self.http2 {
            let handshake = http2::handshake(TokioExecutor::new(), stream).await;
            let (sender, connection) = handshake.expect("HTTP/2 begins");
            tokio::spawn(connection);
            Connection::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(stream).await.expect("HTTP/1.1 begins");
            tokio::spawn(connection);
            Connection::Http1(sender)
        });
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let uri = if self.http2 {
            format!("https://{HOST}/mutate")
        } else {
            "/mutate".to_owned()
        };
        Request::post(uri)
            .header(header::HOST, HOST)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(self.body.clone()))
            .expect("the request is well-formed")
    }
}

/// What `/ready` answers: the status line.
async fn ready(process: &Process) -> String {
    let stream = TcpStream::connect(process.admin_addr()).await;
    let mut stream = stream.expect("the admin port is open");
    let request = b"GET /ready HTTP/1.1\r\nhost: webhook\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it is connected");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer).await;
    read.expect("it answers with text");
    answer.lines().next().unwrap_or_default().to_owned()
}

async fn until_ready(process: &Process, is_ready: bool) {
    let status = if is_ready { "200" } else { "503" };
    let reached = timeout(Duration::from_secs(10), async {
        // Each look is a connection of its own, which is pace enough.
        while !ready(process).await.contains(status) {}
    });
    reached.await.expect("it happens within ten seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_under_load_loses_no_admission() {
    let start = || Process::start(Path::new(BINARY), &["--shutdown-delay=2s"]);
    let old = start().await.expect("the webhook starts");
    until_ready(&old, true).await;
    let (service, routes) = watch::channel(Service {
        endpoints: vec![old.addr()],
        cas: vec![old.ca().clone()],
    });
    let recorded: serde_json::Value = serde_json::from_str(RECORDED).expect("it is JSON");
    let body = Bytes::from(recorded["review"].to_string());
    let (stop, over) = watch::channel(false);
    let tally = Arc::new(watch::Sender::new(Tally::default()));
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let client = Client {
            http2: number % 2 == 0,
            service: routes.clone(),
            connection: None,
            connected: 0,
            body: body.clone(),
            tally: Arc::clone(&tally),
        };
        clients.spawn(client.ask_on(over.clone()));
    }

    let new = start().await.expect("the next webhook starts");
    until_ready(&new, true).await;
    service.send_modify(|service| {
        service.endpoints.push(new.addr());
        service.cas.push(new.ca().clone());
    });
    old.terminate().await.expect("it is running");
    until_ready(&old, false).await;
    sleep(PROPAGATION).await;
    service.send_modify(|service| service.endpoints.retain(|endpoint| *endpoint == new.addr()));
    old.ended().await.expect("it ends in order");

    let mut answered = tally.subscribe();
    let enough = answered.borrow_and_update().answered + 80;
    let goes_on = answered.wait_for(|tally| tally.answered >= enough);
    let goes_on = timeout(Duration::from_secs(10), goes_on).await;
    goes_on
        .expect("the next one answers everybody")
        .expect("the clients are still there");
    stop.send_replace(true);
    while let Some(ended) = clients.join_next().await {
        ended.expect("no request was lost");
    }
    assert!(tally.borrow().reconnected >= 8, "all have moved");
    new.stop().await.expect("it ends in order");
}

#[tokio::test]
async fn a_shutdown_delay_that_leaves_no_time_to_finish_is_refused() {
    let flags = ["--shutdown-delay=5s", "--drain-timeout=5s"];
    let started = Process::start(Path::new(BINARY), &flags).await;
    assert!(started.is_err(), "it would cut off what is in flight");
}
