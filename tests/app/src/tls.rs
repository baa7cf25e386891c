//! HTTPS with a certificate made on the spot: probes don't ask who answers, and others can be told
//! what to trust.

use std::sync::Arc;

use anyhow::Context;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Accepts TLS as `host`; with the certificate, as PEM.
///
/// # Errors
///
/// There is no randomness to make a key of, or that's no name.
pub fn acceptor(host: &str) -> anyhow::Result<(TlsAcceptor, String)> {
    let made =
        rcgen::generate_simple_self_signed([host.to_owned()]).context("make a certificate")?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .context("use the certificate")?;
    Ok((TlsAcceptor::from(Arc::new(config)), made.cert.pem()))
}
