//! Bodies that nobody sends but to break something, over HTTPS, to the real binary:
//! each is refused with a 4xx or allowed, in bounded memory, and nobody else notices.

use std::{io, net::Ipv4Addr, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use netting_runtime::files;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Duration, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use process::{HOST, Process};

#[path = "rollout/process.rs"]
#[allow(dead_code, reason = "the rollout asks for what this test does not")]
mod process;

const BINARY: &str = env!("CARGO_BIN_EXE_netting-webhook");
const RECORDED: &str = include_str!("fixtures/admission/edge-none-restricted.json");
/// Almost as much as a body may have.
const LARGE: usize = 3 * 1024 * 1024 - 4096;
/// How many of each are sent at a time.
const AT_ONCE: usize = 8;
/// What the webhook may grow to meanwhile: less than the manifests limit it to.
const RESIDENT_KIB_MAX: u64 = 240 * 1024;
/// Fails rather than hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the API server connects from.
const API_SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// And a pod that means no good.
const POD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

async fn connect(webhook: &Process) -> TlsStream<TcpStream> {
    let connected = connect_from(API_SERVER, webhook, &[]).await;
    connected.expect("it listens, and is trusted")
}

async fn connect_from(
    source: Ipv4Addr,
    webhook: &Process,
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let ca = webhook.ca().der().expect("it is a certificate");
    roots.add(ca).expect("it is a CA's");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| (*it).into()).collect();
    let socket = TcpSocket::new_v4().expect("there are sockets");
    let bound = socket.bind((source, 0).into());
    bound.expect("all of 127.0.0.0/8 is this host's");
    let stream = socket.connect(webhook.addr()).await?;
    let name = HOST.try_into().expect("it is a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream);
    stream.await
}

async fn ask(webhook: &Process, body: Bytes) -> (StatusCode, Bytes) {
    ask_over(&mut http1(connect(webhook).await).await, body).await
}

type Sender = http1::SendRequest<Full<Bytes>>;

async fn http1(stream: TlsStream<TcpStream>) -> Sender {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("HTTP/1.1 begins");
    tokio::spawn(connection);
    sender
}

async fn ask_over(sender: &mut Sender, body: Bytes) -> (StatusCode, Bytes) {
    let request = Request::post("/mutate")
        .header(header::HOST, HOST)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("the request is well-formed");
    let response = sender.send_request(request).await;
    let response = response.expect("whatever it is, it is answered");
    let status = response.status();
    let body = response.into_body().collect().await;
    (status, body.expect("the answer is whole").to_bytes())
}

/// A 4xx, or allowed by a decision.
fn assert_harmless(name: &str, status: StatusCode, body: &[u8]) {
    if status.is_client_error() {
        return;
    }
    assert_eq!(status, StatusCode::OK, "{name}");
    let answer: Value = serde_json::from_slice(body).expect("an answer is JSON");
    let response = &answer["response"];
    assert_eq!(response["allowed"], true, "{name}");
    let decision = &response["auditAnnotations"]["decision"];
    assert_ne!(decision, "fault", "{name}: it has panicked");
}

/// A request with this text in the place of the pod.
fn review(pod: &str) -> Vec<u8> {
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "1",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "object": "POD",
        },
    });
    review.to_string().replace("\"POD\"", pod).into_bytes()
}

fn pod_with(fields: &str) -> Vec<u8> {
    review(&format!(
        r#"{{"spec":{{"containers":[{{"name":"app"}}],{fields}}}}}"#
    ))
}

fn many_containers() -> Vec<u8> {
    let container = |n: usize| {
        json!({
            "name": format!("c{n}"),
            "image": "i",
            "ports": [{"name": "p", "containerPort": n + 1}],
            "livenessProbe": {"tcpSocket": {"port": "p"}},
            "readinessProbe": {"grpc": {"port": n + 1}},
        })
    };
    let containers: Vec<_> = (0..1000).map(container).collect();
    review(&json!({"spec": {"containers": containers}}).to_string())
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    const DEEP: usize = 100_000;
    let fill = |part: &str| part.repeat(LARGE / part.len());
    let list = |part: &str| format!("[{}0]", fill(part));
    let keys: String = (0..LARGE / 12).map(|n| format!("\"{n:07}\":0,")).collect();
    let text = "x".repeat(LARGE);
    let notes = format!(
        r#"{{"metadata":{{"annotations":{{"netting.dev/skip-inbound-ports":"{}"}}}},"spec":{{"containers":[{{}}]}}}}"#,
        fill("1,")
    );
    vec![
        ("nothing", Vec::new()),
        ("zeros", vec![0; LARGE]),
        (
            "no UTF-8",
            review("\"\u{0}\u{7f}\"")
                .into_iter()
                .chain([0xff, 0xfe])
                .collect(),
        ),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf".to_vec(), review("{}")].concat(),
        ),
        ("half a surrogate", pod_with(r#""hostname":"\ud800""#)),
        ("deep lists", review(&"[".repeat(DEEP))),
        ("deep objects", review(&r#"{"spec":"#.repeat(DEEP))),
        (
            "deep and closed",
            review(&format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP))),
        ),
        ("many lists", review(&list("[],"))),
        ("many objects", review(&list(r#"{"":0},"#))),
        (
            "many containers that are empty",
            review(&format!(
                r#"{{"spec":{{"containers":{}}}}}"#,
                list("{},").replace(",0]", "]")
            )),
        ),
        ("many keys", review(&format!("{{{keys}\"\":0}}"))),
        (
            "a long string",
            pod_with(&format!(r#""hostname":"{text}""#)),
        ),
        ("a long key", pod_with(&format!(r#""{text}":0"#))),
        ("a long list of ports", review(&notes)),
        (
            "the same key many times",
            pod_with(&format!(r#"{}"x":1"#, fill(r#""x":0,"#))),
        ),
        (
            "containers twice",
            pod_with(r#""containers":[{"name":"netting-init"}]"#),
        ),
        ("NaN", pod_with(r#""terminationGracePeriodSeconds":NaN"#)),
        (
            "Infinity",
            pod_with(r#""terminationGracePeriodSeconds":-Infinity"#),
        ),
        (
            "1e999",
            pod_with(r#""terminationGracePeriodSeconds":1e999"#),
        ),
        ("-0", pod_with(r#""terminationGracePeriodSeconds":-0"#)),
        (
            "a long number",
            pod_with(&format!(
                r#""terminationGracePeriodSeconds":{}"#,
                "9".repeat(LARGE)
            )),
        ),
        (
            "a negative time",
            pod_with(r#""terminationGracePeriodSeconds":-9223372036854775808"#),
        ),
        ("1,000 containers", many_containers()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_arrives_is_refused_or_allowed_in_bounded_memory() {
    let webhook = Process::start(Path::new(BINARY), &[]).await;
    let webhook = Arc::new(webhook.expect("the webhook starts"));
    for (name, body) in bodies() {
        let body = Bytes::from(body);
        let mut asking = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (webhook, body) = (Arc::clone(&webhook), body.clone());
            asking.spawn(async move { ask(&webhook, body).await });
        }
        while let Some(answered) = timeout(PATIENCE, asking.join_next()).await.expect(name) {
            let (status, body) = answered.expect(name);
            assert_harmless(name, status, &body);
        }
        let resident = webhook.resident_memory_peak_kib().expect("it still runs");
        assert!(resident < RESIDENT_KIB_MAX, "{name}: {resident} KiB");
    }
    let webhook = Arc::into_inner(webhook).expect("nobody asks any more");
    webhook.stop().await.expect("it ends in order");
}

/// The first bytes of a TLS record that says it has 512, and doesn't.
const HALF_A_HELLO: [u8; 6] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];

/// More of them than there is room for bodies of the length that they announce.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_slow_keeps_nobody_else_waiting() {
    let webhook = Process::start(Path::new(BINARY), &[]).await;
    let webhook = webhook.expect("the webhook starts");
    let mut slow = Vec::new();
    let mut half_open = Vec::new();
    for _ in 0..100 {
        let mut half = TcpStream::connect(webhook.addr())
            .await
            .expect("it listens");
        half.write_all(&HALF_A_HELLO)
            .await
            .expect("it is connected");
        half_open.push(half);
        let mut client = connect(&webhook).await;
        let head = format!(
            "POST /mutate HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n\
             content-length: {LARGE}\r\n\r\n{{"
        );
        client
            .write_all(head.as_bytes())
            .await
            .expect("it is connected");
        client.flush().await.expect("it is connected");
        slow.push(client);
    }
    let recorded: Value = serde_json::from_str(RECORDED).expect("it is JSON");
    let body = Bytes::from(recorded["review"].to_string());
    for _ in 0..10 {
        // Less than the API server waits.
        let answered = timeout(Duration::from_secs(5), ask(&webhook, body.clone())).await;
        let (status, _) = answered.expect("nobody is in the way");
        assert_eq!(status, StatusCode::OK);
    }
    drop((slow, half_open));
    webhook.stop().await.expect("it ends in order");
}

/// As many as the webhook serves at a time, and some more.
const MANY: usize = 600;

/// What the API server sends, and is answered although somebody has so many connections.
async fn is_asked_in_time(webhook: &Process, api_server: &mut Sender) {
    let recorded: Value = serde_json::from_str(RECORDED).expect("it is JSON");
    let body = Bytes::from(recorded["review"].to_string());
    // On the connection that it has already, and on new ones.
    let answered = ask_over(api_server, body.clone()).await;
    assert_eq!(answered.0, StatusCode::OK);
    for _ in 0..10 {
        // Less than the API server waits.
        let answered = timeout(Duration::from_secs(3), ask(webhook, body.clone())).await;
        let (status, _) = answered.expect("nobody is in the way");
        assert_eq!(status, StatusCode::OK);
    }
}

/// Has a pod open many connections, and leave each as this leaves it; then asks.
async fn is_asked_in_spite_of<T: Send + 'static>(
    protocols: &[&'static str],
    leave: impl AsyncFn(TlsStream<TcpStream>) -> T,
) {
    files::raise_max();
    let webhook = Process::start(Path::new(BINARY), &[]).await;
    let webhook = webhook.expect("the webhook starts");
    let mut api_server = http1(connect(&webhook).await).await;
    is_asked_in_time(&webhook, &mut api_server).await;
    let open = async |_| {
        let left = async { Some(leave(connect_from(POD, &webhook, protocols).await.ok()?).await) };
        timeout(Duration::from_secs(5), left).await
    };
    let mut left = Vec::new();
    for _ in 0..MANY / 20 {
        let some = join_all((0..20).map(open)).await;
        let is_full = some.iter().any(Result::is_err);
        left.extend(some);
        if is_full {
            break;
        }
    }
    is_asked_in_time(&webhook, &mut api_server).await;
    drop(left);
    webhook.stop().await.expect("it ends in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_keep_nobody_out() {
    is_asked_in_spite_of(&[], async |stream| {
        let mut sender = http1(stream).await;
        let request = Request::get("/").header(header::HOST, HOST);
        let request = request.body(Full::default()).expect("it is well-formed");
        let answered = sender.send_request(request).await;
        (sender, answered.map(|response| response.status()).ok())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_of_http2_keep_nobody_out() {
    is_asked_in_spite_of(&["h2"], async |stream| {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.ok()?;
        tokio::spawn(connection);
        let request = Request::get(format!("https://{HOST}/"));
        let request = request.body(Full::<Bytes>::default());
        let answered = sender.send_request(request.expect("it is well-formed"));
        let status = answered.await.map(|response| response.status()).ok();
        Some((sender, status))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_an_end_keep_nobody_out() {
    is_asked_in_spite_of(&[], async |mut stream| {
        let head = format!(
            "POST /mutate HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n\
             content-length: 10\r\n\r\n{{"
        );
        // It may have been told to go by now.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.flush().await;
        stream
    })
    .await;
}
