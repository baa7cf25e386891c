//! An API server that speaks TLS and wants to know who asks, and kubeconfigs for it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
    routing::get,
    serve::Listener,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, CertifiedKey, KeyPair};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};

/// The name that its certificate has besides 127.0.0.1, and that nobody can resolve.
pub(crate) const HOST: &str = "api.shop.test";

/// What it knows callers by.
#[derive(Clone, Copy)]
pub(crate) enum Knows {
    Token(&'static str),
    /// A client certificate, which is [`Api::client`].
    Certificate,
}

/// It refuses everything but `/version`, and says to whom, and at which path.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    certificate: CertifiedKey<KeyPair>,
    pub(crate) client: CertifiedKey<KeyPair>,
}

impl Api {
    pub(crate) async fn serve(knows: Knows) -> Self {
        let names = vec![HOST.to_owned(), "127.0.0.1".to_owned()];
        let certificate = self_signed(names);
        let client = self_signed(vec!["me".to_owned()]);
        let tcp = TcpListener::bind("127.0.0.1:0").await;
        let tcp = tcp.expect("a port is free");
        let address = tcp.local_addr().expect("it has an address");
        let tls = acceptor(&certificate, knows, &client);
        let router = Router::new()
            .route(
                "/version",
                get(async move |headers| answer(knows, &headers, None)),
            )
            .fallback(async move |uri: Uri, headers: HeaderMap| {
                answer(knows, &headers, Some(&uri))
            });
        tokio::spawn(async move { axum::serve(Tls { tcp, tls }, router).await });
        Self {
            address,
            certificate,
            client,
        }
    }

    /// A cluster of a kubeconfig, with its certificate for its CA.
    pub(crate) fn cluster(&self, name: &str, server: &str) -> Value {
        json!({"name": name, "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(self.certificate.cert.pem()),
        }})
    }

    /// Its address, where no proxy leads to it.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

fn self_signed(names: Vec<String>) -> CertifiedKey<KeyPair> {
    let params = CertificateParams::new(names).expect("they are names");
    let signing_key = KeyPair::generate().expect("a key");
    let cert = params.self_signed(&signing_key).expect("a certificate");
    CertifiedKey { cert, signing_key }
}

fn answer(knows: Knows, headers: &HeaderMap, uri: Option<&Uri>) -> Response {
    let token = headers
        .get("authorization")
        .and_then(|one| one.to_str().ok());
    let who = match (knows, token) {
        (Knows::Certificate, _) => "certificate",
        (Knows::Token(wanted), Some(token)) if token == format!("Bearer {wanted}") => wanted,
        _ => return refusal(StatusCode::UNAUTHORIZED, "who are you?"),
    };
    match uri {
        None => Json(
            json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "",
            "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
        )
        .into_response(),
        Some(uri) => refusal(StatusCode::FORBIDDEN, &format!("{who} at {}", uri.path())),
    }
}

fn refusal(code: StatusCode, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": "Forbidden", "code": code.as_u16(), "message": message});
    (code, Json(status)).into_response()
}

fn acceptor(
    certificate: &CertifiedKey<KeyPair>,
    knows: Knows,
    client: &CertifiedKey<KeyPair>,
) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has them");
    let config = match knows {
        Knows::Token(_) => config.with_no_client_auth(),
        Knows::Certificate => {
            let mut roots = RootCertStore::empty();
            let client = client.cert.der().clone();
            roots.add(client).expect("it is a certificate");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().expect("it has a root"))
        }
    };
    let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let chain = vec![certificate.cert.der().clone()];
    let config = config.with_single_cert(chain, PrivateKeyDer::Pkcs8(key));
    TlsAcceptor::from(Arc::new(config.expect("the key is the certificate's")))
}

struct Tls {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.expect("it listens");
            // Whoever has no certificate, or doesn't trust this one's, is gone.
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
