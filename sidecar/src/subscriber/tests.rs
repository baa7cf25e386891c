use std::{net::SocketAddr, pin::Pin};

use netting_proto::v1::catalog_server::{Catalog, CatalogServer};
use netting_runtime::Readiness;
use netting_telemetry::Metrics;
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response};

use super::*;
use crate::{
    reason::Reason,
    view::{ViewLimits, resolved::Answer},
};

/// What a test gets of each stream that the sidecar opens.
struct Opened {
    requests: Streaming<v1::StreamRequest>,
    responses: mpsc::Sender<Result<v1::StreamResponse, Status>>,
}

/// A catalog that says only what the test makes it say.
struct Scripted {
    opened: mpsc::Sender<Opened>,
}

#[tonic::async_trait]
impl Catalog for Scripted {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::StreamResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (responses, queue) = mpsc::channel(64);
        let requests = request.into_inner();
        let opened = Opened {
            requests,
            responses,
        };
        self.opened
            .send(opened)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }
}

struct Running {
    streams: mpsc::Receiver<Opened>,
    view: Arc<View>,
    readiness: Readiness,
    metrics: Metrics,
    application_ended: Arc<Notify>,
    addr: SocketAddr,
    server: AbortHandle,
}

fn serve(listener: TcpListener) -> (mpsc::Receiver<Opened>, AbortHandle) {
    let (opened, streams) = mpsc::channel(8);
    let server = tonic::transport::Server::builder()
        .add_service(CatalogServer::new(Scripted { opened }))
        .serve_with_incoming(TcpListenerStream::new(listener));
    (streams, tokio::spawn(server).abort_handle())
}

/// A scripted catalog and a subscriber to it.
async fn running() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener
        .local_addr()
        .expect("a bound socket has an address");
    let (streams, server) = serve(listener);
    let limits = ViewLimits {
        destinations_max: 10_000,
        discovery_timeout: Duration::from_secs(5),
        idle: Duration::from_secs(300),
    };
    let view = Arc::new(View::new(limits, ""));
    let readiness = Readiness::new();
    let metrics = Metrics::new("test", "0");
    let application_ended = Arc::new(Notify::new());
    let subscriber = Subscriber {
        view: Arc::clone(&view),
        catalog: addr
            .to_string()
            .parse()
            .expect("an address is host and port"),
        resolv_conf: "/nowhere".into(),
        hello: v1::Hello {
            pod: "web-1".to_owned(),
            ..Default::default()
        },
        welcomed: readiness.condition("catalog"),
        application_ended: Arc::clone(&application_ended),
        metrics: DiscoveryMetrics::register(&metrics),
    };
    tokio::spawn(subscriber.run());
    Running {
        streams,
        view,
        readiness,
        metrics,
        application_ended,
        addr,
        server,
    }
}

impl Opened {
    async fn say(&self, kind: stream_response::Kind) {
        let response = v1::StreamResponse { kind: Some(kind) };
        self.responses
            .send(Ok(response))
            .await
            .expect("the stream is open");
    }

    async fn welcome(&self, heartbeat_interval_ms: u32) {
        let welcome = v1::Welcome {
            heartbeat_interval_ms,
            ..Default::default()
        };
        self.say(stream_response::Kind::Welcome(welcome)).await;
    }

    /// The next request that is no heartbeat.
    async fn heard(&mut self) -> stream_request::Kind {
        loop {
            let request = self.requests.message().await.expect("the stream is open");
            match request
                .and_then(|request| request.kind)
                .expect("it says something")
            {
                stream_request::Kind::Heartbeat(_) => {}
                kind => return kind,
            }
        }
    }

    async fn subscribed(&mut self) -> Vec<v1::Subscription> {
        match self.heard().await {
            stream_request::Kind::Subscribe(subscribe) => subscribe.subscriptions,
            other => panic!("expected a subscription, heard {other:?}"),
        }
    }
}

impl Running {
    async fn opened(&mut self) -> Opened {
        self.streams
            .recv()
            .await
            .expect("the sidecar opens a stream")
    }
}

/// Waits until the subscriber has taken the Welcome in.
async fn connected(view: &View) {
    while view.connected_since().is_none() {
        tokio::task::yield_now().await;
    }
}

fn dst(text: &str) -> OriginalDst {
    OriginalDst(text.parse().expect("a literal address"))
}

fn snapshot(of: OriginalDst, endpoint: &str) -> stream_response::Kind {
    let endpoint = v1::Endpoint {
        address: Some(dst(endpoint).0.into()),
        ready: true,
        ..Default::default()
    };
    stream_response::Kind::Snapshot(v1::Snapshot {
        address: Some(of.0.into()),
        destination: Some(v1::Destination::default()),
        endpoints: vec![endpoint],
        hash: b"one".to_vec(),
        changed_at_us: 1,
    })
}

fn resolving(view: &Arc<View>, of: OriginalDst) -> tokio::task::JoinHandle<Answer> {
    let view = Arc::clone(view);
    tokio::spawn(async move { view.resolve(of).await })
}

#[tokio::test]
async fn says_hello_and_is_ready_once_welcomed() {
    let mut running = running().await;
    let mut stream = running.opened().await;
    match stream.heard().await {
        stream_request::Kind::Hello(hello) => assert_eq!(hello.pod, "web-1"),
        other => panic!("expected Hello, heard {other:?}"),
    }
    assert_eq!(running.readiness.missing(), ["catalog"]);
    stream.welcome(60_000).await;
    connected(&running.view).await;
    let web = dst("10.96.0.1:80");
    let asked = resolving(&running.view, web);
    assert_eq!(stream.subscribed().await[0].address, Some(web.0.into()));
    assert!(running.readiness.missing().is_empty());
    stream.say(snapshot(web, "10.0.0.1:8080")).await;
    assert!(
        matches!(asked.await, Ok(Answer::Endpoint(_, first)) if first.addr().0 == dst("10.0.0.1:8080").0)
    );
    let exposition = running.metrics.expose();
    assert!(
        exposition.contains("netting_discovery_propagation_seconds_count 1"),
        "{exposition}"
    );
}

#[tokio::test]
async fn hears_that_the_application_has_ended() {
    let mut running = running().await;
    let stream = running.opened().await;
    stream.welcome(60_000).await;
    let ended = v1::ApplicationEnded {};
    stream
        .say(stream_response::Kind::ApplicationEnded(ended))
        .await;
    running.application_ended.notified().await;
}

#[tokio::test]
async fn a_lost_stream_is_reopened_with_the_hashes_that_are_held() {
    let mut running = running().await;
    let mut stream = running.opened().await;
    let _hello = stream.heard().await;
    stream.welcome(60_000).await;
    connected(&running.view).await;
    let web = dst("10.96.0.1:80");
    let asked = resolving(&running.view, web);
    assert_eq!(stream.subscribed().await[0].known_hash, b"");
    stream.say(snapshot(web, "10.0.0.1:8080")).await;
    let _ = asked.await;

    let gone = Status::unavailable("going away");
    stream
        .responses
        .send(Err(gone))
        .await
        .expect("the stream is open");
    let mut stream = running.opened().await;
    let _hello = stream.heard().await;
    stream.welcome(60_000).await;
    let again = stream.subscribed().await;
    assert_eq!(again.len(), 1);
    assert_eq!(
        (again[0].address.clone(), &again[0].known_hash[..]),
        (Some(web.0.into()), &b"one"[..])
    );
}

#[tokio::test]
async fn a_silent_catalog_is_left_for_another() {
    let mut running = running().await;
    let mut stream = running.opened().await;
    let _hello = stream.heard().await;
    stream.welcome(20).await;
    let mut another = running.opened().await;
    assert!(matches!(
        another.heard().await,
        stream_request::Kind::Hello(_)
    ));
}

#[tokio::test]
async fn one_that_does_not_begin_with_welcome_is_left_too() {
    let mut running = running().await;
    let stream = running.opened().await;
    let beat = v1::Heartbeat { sequence: 1 };
    stream.say(stream_response::Kind::Heartbeat(beat)).await;
    let mut another = running.opened().await;
    assert!(matches!(
        another.heard().await,
        stream_request::Kind::Hello(_)
    ));
    assert_eq!(running.readiness.missing(), ["catalog"]);
}

#[tokio::test]
async fn a_killed_catalog_is_found_again_when_it_is_back() {
    let mut running = running().await;
    let stream = running.opened().await;
    stream.welcome(60_000).await;
    drop(stream);
    running.server.abort();
    let listener = loop {
        // The port is free once the aborted server has been dropped.
        match TcpListener::bind(running.addr).await {
            Ok(listener) => break listener,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let (mut streams, _server) = serve(listener);
    let mut stream = streams.recv().await.expect("the sidecar comes back");
    assert!(matches!(
        stream.heard().await,
        stream_request::Kind::Hello(_)
    ));
}

#[tokio::test]
async fn garbage_is_ignored_and_the_stream_goes_on() {
    let mut running = running().await;
    let mut stream = running.opened().await;
    let _hello = stream.heard().await;
    stream.welcome(60_000).await;
    connected(&running.view).await;
    stream
        .say(stream_response::Kind::Snapshot(v1::Snapshot::default()))
        .await;
    stream
        .say(stream_response::Kind::Delta(v1::Delta::default()))
        .await;
    let nothing = v1::StreamResponse { kind: None };
    stream
        .responses
        .send(Ok(nothing))
        .await
        .expect("the stream is open");
    let other = dst("192.0.2.1:443");
    let asked = resolving(&running.view, other);
    assert_eq!(stream.subscribed().await[0].address, Some(other.0.into()));
    let unknown = v1::Unknown {
        address: Some(other.0.into()),
        ..Default::default()
    };
    stream.say(stream_response::Kind::Unknown(unknown)).await;
    assert!(matches!(
        asked.await,
        Ok(Answer::PassThrough(Reason::UnknownAddress))
    ));
}

#[tokio::test]
async fn many_addresses_go_in_several_messages() {
    let mut running = running().await;
    let addresses = 1200;
    for n in 0..addresses {
        let _ = running
            .view
            .resolve(dst(&format!("10.96.0.1:{}", n + 1)))
            .await;
    }
    let mut stream = running.opened().await;
    let _hello = stream.heard().await;
    stream.welcome(60_000).await;
    let mut subscribed = 0;
    while subscribed < addresses {
        let these = stream.subscribed().await.len();
        assert!(these <= SUBSCRIPTIONS_IN_A_MESSAGE);
        subscribed += these;
    }
    assert_eq!(subscribed, addresses);
}

#[tokio::test(start_paused = true)]
async fn idle_addresses_are_forgotten_without_a_catalog() {
    let limits = ViewLimits {
        destinations_max: 1,
        discovery_timeout: Duration::from_secs(5),
        idle: Duration::from_secs(300),
    };
    let view = Arc::new(View::new(limits, ""));
    let subscriber = Subscriber {
        view: Arc::clone(&view),
        catalog: "127.0.0.1:1".parse().expect("host and port"),
        resolv_conf: "/nowhere".into(),
        hello: v1::Hello::default(),
        welcomed: Readiness::new().condition("catalog"),
        application_ended: Arc::default(),
        metrics: DiscoveryMetrics::register(&Metrics::new("test", "0")),
    };
    tokio::spawn(subscriber.run());
    let _ = view.resolve(dst("10.96.0.1:80")).await;
    let refused = view.resolve(dst("10.96.0.2:80")).await;
    assert!(matches!(
        refused,
        Answer::PassThrough(Reason::TooManyDestinations)
    ));
    sleep(limits.idle + FORGET_INTERVAL).await;
    let taken = view.resolve(dst("10.96.0.2:80")).await;
    assert!(matches!(
        taken,
        Answer::PassThrough(Reason::CatalogUnavailable)
    ));
}

#[tokio::test]
async fn learns_its_zone_from_the_catalog() {
    let mut running = running().await;
    let mut stream = running.opened().await;
    let _hello = stream.heard().await;
    stream.welcome(60_000).await;
    let place = v1::Place {
        zone: "zone-1".to_owned(),
    };
    stream.say(stream_response::Kind::Place(place)).await;
    while running.view.zone() != "zone-1" {
        tokio::task::yield_now().await;
    }
}
