//! A webhook on a port of its own, and clients that trust it.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use clap::Parser as _;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use netting_runtime::{Drain, Readiness};
use netting_telemetry::{
    Metrics,
    admission::{AdmissionMetrics, CertificateMetrics},
    trace::Tracer,
};
use netting_webhook::{
    Args,
    certificate::{
        CaPem, Named, ServingCertificate, self_made,
        serving::{Anchors, Offer, Origin, Server},
    },
    mutate::Mutate,
    server,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use tower::util::MapRequestLayer;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

const HOST: &str = "netting-webhook.netting.svc";
/// How long a webhook that drains still accepts connections.
pub(crate) const LINGER: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

pub(crate) struct Webhook {
    pub(crate) addr: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) metrics: Metrics,
    certificates: Server,
    roots: Arc<RootCertStore>,
    begun: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

fn made() -> (ServingCertificate, CaPem) {
    let made = self_made::make(HOST, SystemTime::now()).expect("the host is a name");
    let named = |name, text| Named { name, text };
    let certificate = ServingCertificate::parse(
        named("chain", made.pair.chain.as_bytes()),
        named("key", made.pair.key.as_bytes()),
    );
    let certificate = certificate.expect("the key is the certificate's");
    (certificate, made.ca)
}

/// Of a certificate whose trust is somebody else's business.
fn offer(certificate: &ServingCertificate) -> Offer<'_> {
    let anchors = Anchors {
        cas: Vec::new(),
        origin: Origin::Given,
    };
    Offer {
        certificate,
        anchors,
    }
}

impl Webhook {
    pub(crate) async fn start() -> Self {
        Self::start_traced(None).await
    }

    pub(crate) async fn start_traced(tracer: Option<Tracer>) -> Self {
        let (certificate, ca) = made();
        let metrics = Metrics::new("webhook", "0");
        let (mut certificates, serving, _) = Server::new(
            Readiness::new().condition("has a certificate"),
            CertificateMetrics::register(&metrics),
        );
        certificates.offer(offer(&certificate), &[], SystemTime::now());
        let mut roots = RootCertStore::empty();
        roots
            .add(ca.der().expect("the CA is PEM"))
            .expect("the CA is a certificate");

        let args = Args::parse_from(["netting-webhook", "--pod-namespace=netting"]);
        let options = args.options().expect("the defaults agree with each other");
        let (count, begun) = watch::channel(0);
        let mutate = Mutate {
            tracer,
            ..Mutate::by(options, AdmissionMetrics::register(&metrics))
        };
        let routes = mutate.into_router().layer(MapRequestLayer::new(
            move |request: axum::extract::Request| {
                count.send_modify(|count: &mut usize| *count += 1);
                request
            },
        ));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has ports");
        let addr = listener.local_addr().expect("it is bound");
        let drain = Drain::new();
        let serving = server::serve(listener, serving, routes, LINGER, drain.clone());
        let server = tokio::spawn(serving);
        Self {
            addr,
            drain,
            metrics,
            certificates,
            roots: Arc::new(roots),
            begun,
            server,
        }
    }

    /// Serves new connections with another certificate from now on.
    pub(crate) fn renew(&mut self) {
        let (certificate, ca) = made();
        self.certificates
            .offer(offer(&certificate), &[], SystemTime::now());
        let mut roots = RootCertStore::empty();
        roots
            .add(ca.der().expect("the CA is PEM"))
            .expect("the CA is a certificate");
        self.roots = Arc::new(roots);
    }

    /// Waits until so many requests were seen.
    pub(crate) async fn requests_begun(&self, requests: usize) {
        let mut begun = self.begun.clone();
        let reached = begun.wait_for(|begun| *begun >= requests).await;
        reached.expect("the routes are still there");
    }

    /// Waits until nothing is served any more.
    pub(crate) async fn stopped(self) {
        self.server.await.expect("the server doesn't panic");
        self.drain
            .run(std::time::Duration::from_secs(60), std::future::pending())
            .await;
    }

    /// A connection that has said nothing yet.
    pub(crate) async fn tls(&self, protocol: Protocol) -> TlsStream<TcpStream> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = match protocol {
            Protocol::Http1 => Vec::new(),
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        let stream = TcpStream::connect(self.addr).await.expect("it listens");
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(HOST).expect("it is a name"), stream)
            .await
            .expect("the certificate is trusted")
    }

    pub(crate) async fn connect(&self, protocol: Protocol) -> Client {
        let stream = TokioIo::new(self.tls(protocol).await);
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.expect("HTTP/1.1 begins");
                let connection = tokio::spawn(async move {
                    let _ = connection.await;
                });
                Client::Http1(sender, connection)
            }
            Protocol::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), stream).await;
                let (sender, connection) = handshake.expect("HTTP/2 begins");
                let connection = tokio::spawn(async move {
                    let _ = connection.await;
                });
                Client::Http2(sender, connection)
            }
        }
    }

    /// One request of the right kind, on a connection of its own.
    pub(crate) async fn mutate(&self, protocol: Protocol, body: impl Into<Bytes>) -> Answered {
        let body = Full::new(body.into()).boxed();
        let mut client = self.connect(protocol).await;
        client
            .send(
                Method::POST,
                "/mutate?timeout=5s",
                Some("application/json"),
                body,
            )
            .await
    }
}

/// The beginning of a request's head, for those who end it in a way of their own.
pub(crate) const HEAD: &str =
    "POST /mutate HTTP/1.1\r\nhost: webhook\r\ncontent-type: application/json\r\n";

impl Webhook {
    /// The answer to `HEAD` and `rest`, which may come before all of it is sent.
    pub(crate) async fn raw_request(&self, rest: &str) -> String {
        let (mut receive, mut send) = tokio::io::split(self.tls(Protocol::Http1).await);
        let request = format!("{HEAD}{rest}");
        let sent = async {
            // The server may hang up on the rest, which is its right.
            let _ = send.write_all(request.as_bytes()).await;
            let _ = send.flush().await;
        };
        let mut answer = vec![0; 64];
        let (read, ()) = tokio::join!(receive.read(&mut answer), sent);
        answer.truncate(read.expect("it is answered"));
        String::from_utf8(answer).expect("a head is ASCII")
    }
}

pub(crate) enum Client {
    Http1(http1::SendRequest<Body>, JoinHandle<()>),
    Http2(http2::SendRequest<Body>, JoinHandle<()>),
}

impl Client {
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> Answered {
        let uri = match self {
            Self::Http1(..) => path.to_owned(),
            Self::Http2(..) => format!("https://{HOST}{path}"),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, HOST);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(body).expect("the request is well-formed");
        let response = match self {
            Self::Http1(sender, _) => {
                sender.ready().await.expect("the connection is open");
                sender.send_request(request).await
            }
            Self::Http2(sender, _) => sender.send_request(request).await,
        };
        let response = response.expect("it is answered");
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .expect("the answer is whole");
        Answered {
            status,
            body: body.to_bytes(),
        }
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closed(self) {
        match self {
            // The sender holds the connection open; only the server can end it.
            Self::Http1(sender, connection) => {
                connection.await.expect("the connection doesn't panic");
                drop(sender);
            }
            Self::Http2(sender, connection) => {
                connection.await.expect("the connection doesn't panic");
                drop(sender);
            }
        }
    }
}

/// The body of a recorded request.
pub(crate) fn recorded(name: &str) -> Vec<u8> {
    let file = format!("tests/fixtures/admission/{name}.json");
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is there");
    let file: Value = serde_json::from_slice(&text).expect("a fixture is JSON");
    serde_json::to_vec(&file["review"]).expect("a value is JSON")
}
