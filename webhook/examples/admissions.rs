//! How long an admission takes: the webhook in this process, asked over TLS on
//! loopback about one recorded pod, by clients that each wait for their answer
//! before they ask again.
//!
//! `cargo run --release -p netting-webhook --example admissions [REQUESTS] [CLIENTS]`

use std::{
    env, fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser as _;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use netting_runtime::Drain;
use netting_telemetry::{Metrics, admission::AdmissionMetrics};
use netting_webhook::{Args, certificate::ServingCertificate, mutate::Mutate, server};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

const HOST: &str = "netting-webhook.netting.svc";
/// The biggest of the recorded requests.
const RECORDED: &str = "tests/fixtures/admission/edge-none-probes-every-kind.json";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let number = |nth, default| match env::args().nth(nth) {
        Some(text) => text
            .parse()
            .with_context(|| format!("{text} is not a number")),
        None => Ok(default),
    };
    let (requests, clients): (usize, usize) = (number(1, 1000)?, number(2, 32)?);
    let recorded = fs::read(format!("{}/{RECORDED}", env!("CARGO_MANIFEST_DIR")))?;
    let recorded: serde_json::Value = serde_json::from_slice(&recorded)?;
    let body = Bytes::from(serde_json::to_vec(&recorded["review"])?);

    let (certificate, ca) = ServingCertificate::make("netting-webhook", "netting")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let options = Args::parse_from(["netting-webhook"]).options()?;
    let metrics = Metrics::new("webhook", "0").register(AdmissionMetrics::register);
    let routes = Mutate::router(options, metrics);
    tokio::spawn(server::serve(
        listener,
        certificate.into_acceptor()?,
        routes,
        Drain::new(),
    ));

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.0.as_bytes())?)?;
    let mut tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(tls));

    let mut asking = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..clients {
        let stream = TcpStream::connect(addr).await?;
        // As the API server's Go does.
        stream.set_nodelay(true)?;
        let stream = tls.connect(HOST.try_into()?, stream).await?;
        asking.spawn(ask(TokioIo::new(stream), body.clone(), requests / clients));
    }
    let mut times = Vec::new();
    while let Some(asked) = asking.join_next().await {
        times.extend(asked??);
    }
    let took = begun.elapsed();
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{} admissions by {clients} clients in {took:?}: p50 {:?}, p99 {:?}, max {:?}",
        times.len(),
        percentile(50),
        percentile(99),
        percentile(100),
    );
    Ok(())
}

type Stream = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

/// One client: how long each of its requests took.
async fn ask(stream: Stream, body: Bytes, requests: usize) -> anyhow::Result<Vec<Duration>> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let request = Request::post(format!("https://{HOST}/mutate?timeout=5s"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))?;
        let begun = Instant::now();
        let response = sender.send_request(request).await?;
        anyhow::ensure!(response.status().is_success(), "{}", response.status());
        response.into_body().collect().await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}
