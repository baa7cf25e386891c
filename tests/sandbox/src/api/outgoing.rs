//! Requests that the server itself makes: to webhooks, to the kubelets, to pods.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    },
};

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("dial tcp {addr}: connect: {source}")]
    Connect { addr: SocketAddr, source: io::Error },
    #[error("lookup {host}: {source}")]
    Lookup { host: String, source: io::Error },
    #[error("tls: {0}")]
    Tls(#[from] io::Error),
    #[error("tls: the CA bundle holds no certificate: {0}")]
    CaBundle(String),
    #[error("tls: {0:?} is no server name")]
    ServerName(String),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

/// How the other side proves who it is.
pub(crate) enum Security {
    Plain,
    /// By a certificate for `name` that a CA of the PEM bundle signed.
    Verified {
        name: String,
        ca_bundle: Vec<u8>,
    },
    /// By nothing: as a real API server talks to kubelets unless told their CA.
    Unverified {
        name: String,
    },
}

/// Sends `request` over a connection of its own to the first of `addrs`, and returns the answer's
/// head; its body follows as it comes.
pub(crate) async fn send(
    addr: SocketAddr,
    security: Security,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Error> {
    let stream = TcpStream::connect(addr)
        .await
        .map_err(|source| Error::Connect { addr, source })?;
    // Small requests must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    let (name, config) = match security {
        Security::Plain => return exchange(TokioIo::new(stream), request).await,
        Security::Verified { name, ca_bundle } => (name, verified(&ca_bundle)?),
        Security::Unverified { name } => (name, unverified()),
    };
    let server = ServerName::try_from(name.clone()).map_err(|_| Error::ServerName(name))?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await?;
    exchange(TokioIo::new(stream), request).await
}

/// The first address that `host` (a name or an address) has.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<SocketAddr, Error> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let failed = |source| Error::Lookup {
        host: host.to_owned(),
        source,
    };
    let mut found = tokio::net::lookup_host((bare, port))
        .await
        .map_err(failed)?;
    found
        .next()
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "outgoing connection ended");
        }
    });
    Ok(sender.send_request(request).await?)
}

fn verified(ca_bundle: &[u8]) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_bundle) {
        let certificate = certificate.map_err(|error| Error::CaBundle(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| Error::CaBundle(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(Error::CaBundle("it is empty".to_owned()));
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn unverified() -> ClientConfig {
    let verifier = AnyCertificate(Arc::new(ring::default_provider()));
    ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth()
}

/// Accepts whatever certificate the server holds the key of.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
