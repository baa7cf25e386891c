//! TLS to the application, whoever it says it is: a probe asks whether it answers,
//! and the kubelet does not check certificates either.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, InvalidMessage, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::outcome::Failure;

/// What the kubelet offers, and in this order.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Made when the first probe needs it: most pods have none over TLS.
static CONNECTOR: LazyLock<TlsConnector> = LazyLock::new(|| {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    TlsConnector::from(Arc::new(config))
});

/// # Errors
/// If the other side does not speak TLS, or none that both can.
pub(super) async fn handshake(stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
    let addr = stream.peer_addr().map_err(Failure::Tls)?;
    // An address is not sent as a name (RFC 6066, section 3).
    let name = ServerName::from(addr.ip());
    CONNECTOR.connect(name, stream).await.map_err(Failure::Tls)
}

/// Whether the handshake agreed on HTTP/2.
pub(super) fn speaks_h2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// Whether the other side answered the handshake in plain text, of which HTTP's `H` is
/// no type of TLS record.
pub(super) fn is_plain_http(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        error,
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType))
    )
}

/// Trusts any certificate, also one that can't be read.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    /// Also what ring could not verify, since nothing is.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA1,
        ]
    }
}
