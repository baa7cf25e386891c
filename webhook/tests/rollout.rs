//! Rollouts under load, with real processes: the next one starts, is ready, gets
//! requests; then this one is told to end. Clients keep their connections, as the API
//! server does, and ask at a constant rate. The part of kube-proxy is played by a
//! list of endpoints that changes a second after the kubelet's signal.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use api_server::ApiServer;
use client::{BUNDLE, Client, Service, Tally, Trust, bundle};
use process::Process;

#[path = "cluster/api_server.rs"]
#[allow(dead_code, reason = "each test uses a part of it")]
mod api_server;
#[path = "rollout/client.rs"]
mod client;
#[path = "rollout/process.rs"]
#[allow(dead_code, reason = "the bench measures what this test does not")]
mod process;

const BINARY: &str = env!("CARGO_BIN_EXE_netting-webhook");
const RECORDED: &str = include_str!("fixtures/admission/edge-none-restricted.json");
const SECRET: &str = "/api/v1/namespaces/netting/secrets/netting-webhook-tls";
/// How long it takes until no node sends anything to a replica that ends.
const PROPAGATION: Duration = Duration::from_secs(1);
/// A replica accepts connections for far longer than that, for machines that are busy.
const FLAGS: [&str; 2] = ["--shutdown-delay=10s", "--drain-timeout=30s"];

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

/// Clients at work.
struct Load {
    service: watch::Sender<Service>,
    tally: Arc<watch::Sender<Tally>>,
    clients: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Load {
    fn start(service: Service) -> Self {
        let recorded: serde_json::Value = serde_json::from_str(RECORDED).expect("it is JSON");
        let body = Bytes::from(recorded["review"].to_string());
        let (service, routes) = watch::channel(service);
        let (stop, over) = watch::channel(false);
        let tally = Arc::new(watch::Sender::new(Tally::default()));
        let mut clients = JoinSet::new();
        for number in 0..8 {
            let client = Client::new(number, routes.clone(), body.clone(), Arc::clone(&tally));
            clients.spawn(client.ask_on(over.clone()));
        }
        Self {
            service,
            tally,
            clients,
            stop,
        }
    }

    /// Waits until each client may well have asked ten more times.
    async fn goes_on(&self) {
        let mut answered = self.tally.subscribe();
        let enough = answered.borrow_and_update().answered + 80;
        let goes_on = answered.wait_for(|tally| tally.answered >= enough);
        let goes_on = timeout(Duration::from_secs(20), goes_on).await;
        goes_on
            .expect("somebody answers everybody")
            .expect("the clients are still there");
    }

    /// Ends a replica as a rollout does: it is told to end, and a while later no node
    /// sends anything there.
    async fn take_out(&self, replica: Process) {
        let addr = replica.addr();
        replica.terminate().await.expect("it is running");
        until_ready(&replica, false).await;
        sleep(PROPAGATION).await;
        self.service
            .send_modify(|service| service.endpoints.retain(|endpoint| *endpoint != addr));
        replica.ended().await.expect("it ends in order");
    }

    async fn end(mut self) -> Tally {
        self.stop.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("no request was lost");
        }
        *self.tally.borrow()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_under_load_loses_no_admission() {
    let start = || Process::start(Path::new(BINARY), &FLAGS);
    let old = start().await.expect("the webhook starts");
    until_ready(&old, true).await;
    let load = Load::start(Service {
        endpoints: vec![old.addr()],
        trust: Trust::Cas(vec![old.ca().clone()]),
    });
    let new = start().await.expect("the next webhook starts");
    until_ready(&new, true).await;
    load.service.send_modify(|service| {
        service.endpoints.push(new.addr());
        service.trust = Trust::Cas(vec![old.ca().clone(), new.ca().clone()]);
    });
    load.take_out(old).await;
    load.goes_on().await;
    let tally = load.end().await;
    assert!(tally.reconnected >= 6, "all have moved");
    new.stop().await.expect("it ends in order");
}

fn replicated() -> ApiServer {
    let server = ApiServer::default();
    let configuration = json!({
        "kind": "MutatingWebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {},
        "webhooks": [{
            "name": "w", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {},
        }],
    });
    server.lock().put(BUNDLE, configuration);
    server.lock().kubernetes = Some(json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0"}));
    server
}

/// Two replicas with the one Secret; each is replaced, one after the other, while their
/// certificate is made anew, so that the old and the new CA are both in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_share_a_secret_are_rolled_under_load_while_it_changes() {
    let server = replicated();
    let api = server.listen().await;
    let start = async || {
        let joined = Process::join(Path::new(BINARY), api, &FLAGS).await;
        let process = joined.expect("the webhook starts");
        until_ready(&process, true).await;
        process
    };
    let (one, other) = (start().await, start().await);
    let load = Load::start(Service {
        endpoints: vec![one.addr(), other.addr()],
        trust: Trust::Bundle(server.clone()),
    });
    load.goes_on().await;
    let trusted_before = bundle(&server);
    assert_eq!(trusted_before.len(), 1, "one CA for both replicas");

    server.lock().delete(SECRET);
    let mut running = Vec::new();
    for old in [one, other] {
        let new = start().await;
        load.service
            .send_modify(|service| service.endpoints.push(new.addr()));
        load.goes_on().await;
        load.take_out(old).await;
        load.goes_on().await;
        running.push(new);
    }
    let trusted = bundle(&server);
    assert!(trusted.len() > 1, "the old CA and the new one are trusted");
    assert!(
        trusted.contains(&trusted_before[0]),
        "connections rely on it"
    );
    load.end().await;
}

#[tokio::test]
async fn a_shutdown_delay_that_leaves_no_time_to_finish_is_refused() {
    let flags = ["--shutdown-delay=5s", "--drain-timeout=5s"];
    let started = Process::start(Path::new(BINARY), &flags).await;
    assert!(started.is_err(), "it would cut off what is in flight");
}
