//! A client of webhooks, as the API server is one: it goes through the Service, trusts
//! what the configuration says, and takes no failure.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::ByteString;
use netting_webhook::certificate::CaPem;
use tokio::{net::TcpStream, sync::watch, time::interval};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use crate::{api_server::ApiServer, process::HOST};

/// Where the API server has the configuration.
pub(crate) const BUNDLE: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/netting";
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Where the Service leads, and what is trusted there.
#[derive(Clone, Default)]
pub(crate) struct Service {
    pub(crate) endpoints: Vec<SocketAddr>,
    pub(crate) trust: Trust,
}

/// What the API server takes a webhook's certificate by.
#[derive(Clone)]
pub(crate) enum Trust {
    /// These.
    Cas(Vec<CaPem>),
    /// What the configuration has when a connection is made.
    Bundle(ApiServer),
}

impl Default for Trust {
    fn default() -> Self {
        Self::Cas(Vec::new())
    }
}

impl Trust {
    fn cas(&self) -> Vec<CaPem> {
        match self {
            Self::Cas(cas) => cas.clone(),
            Self::Bundle(server) => bundle(server),
        }
    }
}

/// The CAs in the configuration's `caBundle`.
pub(crate) fn bundle(server: &ApiServer) -> Vec<CaPem> {
    let store = server.lock();
    let configuration = store.get(BUNDLE).expect("it is there");
    let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].clone();
    let bundle: Option<ByteString> = serde_json::from_value(bundle).expect("it is base64");
    bundle.map_or_else(Vec::new, |bundle| CaPem::all_in(&bundle.0))
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) answered: usize,
    pub(crate) reconnected: usize,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// One that asks at a constant rate.
pub(crate) struct Client {
    http2: bool,
    /// Connects anew for each request.
    restless: bool,
    service: watch::Receiver<Service>,
    connection: Option<Connection>,
    connected: usize,
    body: Bytes,
    tally: Arc<watch::Sender<Tally>>,
}

impl Client {
    /// Every other one speaks HTTP/2; one in four keeps no connection.
    pub(crate) fn new(
        number: usize,
        service: watch::Receiver<Service>,
        body: Bytes,
        tally: Arc<watch::Sender<Tally>>,
    ) -> Self {
        Self {
            http2: number.is_multiple_of(2),
            restless: number % 4 > 2,
            service,
            connection: None,
            connected: 0,
            body,
            tally,
        }
    }

    /// Asks until `over` is set. Every request must be answered.
    pub(crate) async fn ask_on(mut self, over: watch::Receiver<bool>) {
        let mut ticks = interval(ASK_EVERY);
        while !*over.borrow() {
            ticks.tick().await;
            self.ask().await;
            if self.restless {
                self.connection = None;
            }
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
        let Service { endpoints, trust } = self.service.borrow().clone();
        let cas = trust.cas();
        let endpoint = endpoints[self.connected % endpoints.len()];
        if self.connected > 0 && !self.restless {
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
