//! What an admission costs: the webhook as a process of its own, asked over TLS on
//! loopback about the biggest recorded pod, by clients that each wait for their
//! answer before they ask again. It fails if the target is missed.
//!
//! `hack/bench.sh --admissions [REQUESTS] [CLIENTS]`

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use process::{HOST, Process};

#[path = "../tests/rollout/process.rs"]
#[allow(
    dead_code,
    reason = "the rollout's test asks for what the bench does not"
)]
mod process;

/// What a request may take at the 99th percentile, with 32 at a time on two cores.
const TARGET_P99: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let number = |nth, default| match env::args().nth(nth) {
        Some(text) => text
            .parse()
            .with_context(|| format!("{text} is not a number")),
        None => Ok(default),
    };
    let (requests, clients): (usize, usize) = (number(1, 1000)?, number(2, 32)?);
    let (name, body) = biggest_recorded()?;
    let webhook = Process::start(&binary()?, &[]).await?;
    let idle = webhook.resident_memory_kib()?;

    let connections = connect(&webhook, clients).await?;
    let cpu_before = webhook.cpu_time()?;
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for (client, connection) in connections.into_iter().enumerate() {
        let share = requests / clients + usize::from(client < requests % clients);
        asking.spawn(ask(connection, body.clone(), share));
    }
    let mut times = Vec::new();
    while let Some(asked) = asking.join_next().await {
        times.extend(asked??);
    }
    let took = begun.elapsed();
    let cpu = webhook.cpu_time()? - cpu_before;

    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100];
    let count = u32::try_from(times.len())?;
    println!(
        "{count} admissions of {name} ({} bytes), {clients} at a time, in {took:.1?}",
        body.len()
    );
    println!(
        "p50 {:.2?}, p99 {:.2?} (target: under {TARGET_P99:?}), max {:.2?}",
        percentile(50),
        percentile(99),
        percentile(100)
    );
    println!("CPU time of the webhook: {:.0?} each", cpu / count);
    let after = webhook.resident_memory_kib()?;
    println!("its resident memory: {idle} KiB before, {after} KiB after");
    webhook.stop().await?;
    let p99 = percentile(99);
    ensure!(p99 < TARGET_P99, "p99 is {p99:.2?}: the target is missed");
    Ok(())
}

/// The webhook's binary, which is built beside this one.
fn binary() -> anyhow::Result<PathBuf> {
    let own = env::current_exe()?;
    let beside = own.parent().and_then(Path::parent);
    let binary = beside.context("no directory")?.join("netting-webhook");
    ensure!(
        binary.exists(),
        "{} is not built; build with --bins too",
        binary.display()
    );
    Ok(binary)
}

fn biggest_recorded() -> anyhow::Result<(String, Bytes)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/admission");
    let mut biggest = (String::new(), Bytes::new());
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let recorded: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
        let review = serde_json::to_vec(&recorded["review"])?;
        if review.len() > biggest.1.len() {
            let name = path.file_stem().unwrap_or_default();
            biggest = (name.to_string_lossy().into_owned(), review.into());
        }
    }
    Ok(biggest)
}

type Sender = http2::SendRequest<Full<Bytes>>;

/// So many clients, whose handshakes are done.
async fn connect(webhook: &Process, clients: usize) -> anyhow::Result<Vec<Sender>> {
    let mut roots = RootCertStore::empty();
    roots.add(webhook.ca().der().context("the CA is no certificate")?)?;
    let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(tls));
    let mut connections = Vec::new();
    for _ in 0..clients {
        let stream = TcpStream::connect(webhook.addr()).await?;
        // As the API server's Go does.
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(tls.connect(HOST.try_into()?, stream).await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        connections.push(sender);
    }
    Ok(connections)
}

/// One client: how long each of its requests took.
async fn ask(mut sender: Sender, body: Bytes, requests: usize) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let request = Request::post(format!("https://{HOST}/mutate?timeout=5s"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))?;
        let begun = Instant::now();
        let response = sender.send_request(request).await?;
        ensure!(response.status().is_success(), "{}", response.status());
        response.into_body().collect().await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}
