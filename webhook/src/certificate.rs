//! The certificate that the webhook serves with: given as files, or self-made.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

mod pem;

/// A self-made certificate is made anew at each start and not renewed while the
/// process runs, so it has to last for longer than any process does.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The API server's clock may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);
/// HTTP/2 is what the API server prefers; HTTP/1.1 is for everybody else.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate chain and its key.
#[derive(Debug)]
pub struct ServingCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What the API server needs in order to trust a self-made certificate: one
/// certificate, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaPem(pub String);

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file has PEM that does not decode.
    #[error("{path} has a damaged PEM block")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it is damaged.
        #[source]
        source: std::io::Error,
    },
    /// A file lacks what it is for.
    #[error("{path} has no {lacks} in PEM (\"-----BEGIN …-----\"); is it the right file?")]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        lacks: &'static str,
    },
    /// The two don't belong together, or rustls can't serve with them.
    #[error("this certificate and key cannot be served with; do they belong together?")]
    Unusable(#[source] rustls::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate for {host}")]
    Make {
        /// The Service's name.
        host: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

impl ServingCertificate {
    /// Reads a certificate chain (leaf first) and its private key, both PEM.
    ///
    /// # Errors
    /// If a file is missing, damaged, or holds something else.
    pub fn load(chain: &std::path::Path, key: &std::path::Path) -> Result<Self, CertificateError> {
        Ok(Self {
            chain: pem::certificates(chain)?,
            key: pem::private_key(key)?,
        })
    }

    /// Makes a CA and a certificate for a Service. The CA's key is forgotten at
    /// once: it signs this certificate and no other.
    ///
    /// # Errors
    /// If the names can't be put into a certificate, or the system has no randomness.
    pub fn make(service: &str, namespace: &str) -> Result<(Self, CaPem), CertificateError> {
        let host = format!("{service}.{namespace}.svc");
        let made = make(&host).map_err(|source| CertificateError::Make { host, source })?;
        let (ca, leaf, key) = made;
        let serving = Self {
            chain: vec![leaf.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        };
        Ok((serving, CaPem(ca)))
    }

    /// What serves TLS with it.
    ///
    /// # Errors
    /// If certificate and key don't belong together.
    pub fn into_acceptor(self) -> Result<TlsAcceptor, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config
                    .with_no_client_auth()
                    .with_single_cert(self.chain, self.key)
            })
            .map_err(CertificateError::Unusable)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The CA as PEM, the leaf, and the leaf's key.
fn make(host: &str) -> Result<(String, rcgen::Certificate, KeyPair), rcgen::Error> {
    let mut ca = params("netting-webhook CA", Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

    let names = vec![host.to_owned(), format!("{host}.cluster.local")];
    let mut leaf = params(host, names)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &ca)?;
    Ok((ca.pem(), leaf, key))
}

fn params(name: &str, dns_names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(dns_names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + LIFETIME).into();
    Ok(params)
}

#[cfg(test)]
mod tests;
