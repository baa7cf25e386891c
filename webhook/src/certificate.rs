//! The certificate that the webhook serves with, and where it comes from: files that
//! are given, or the Secret that all replicas share. In reading order:
//!
//! - this module: a certificate chain with its key;
//! - [`validity`]: for how long it holds;
//! - [`acceptance`]: whether the API server would accept it;
//! - [`self_made`]: one made here, with a CA of its own;
//! - [`shared`]: what the Secret holds, and what is to be done about it when;
//! - [`serving`]: what new connections are accepted with, and who is to trust it;
//! - [`secret`] and [`files`]: where certificates are watched for.

use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

pub mod acceptance;
pub mod files;
mod pem;
pub mod secret;
pub mod self_made;
pub mod serving;
pub mod shared;
pub mod validity;

pub use acceptance::Unacceptable;
pub use pem::CaPem;
pub use tokio_rustls::rustls::pki_types::CertificateDer;
pub use validity::Validity;

/// API servers ask webhooks over HTTP/1.1; HTTP/2 is there for whoever offers it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate chain and its key, which belong together.
#[derive(Clone)]
pub struct ServingCertificate {
    chain: Vec<CertificateDer<'static>>,
    validity: Validity,
    config: Arc<ServerConfig>,
}

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
        source: io::Error,
    },
    /// PEM that does not decode.
    #[error("{name} has a damaged PEM block")]
    Damaged {
        /// The file, or the Secret's entry.
        name: String,
        /// Where it is damaged.
        #[source]
        source: io::Error,
    },
    /// Something lacks what it is for.
    #[error("{name} has no {lacks} in PEM (\"-----BEGIN …-----\"); is it the right file?")]
    Empty {
        /// The file, or the Secret's entry.
        name: String,
        /// What was looked for.
        lacks: &'static str,
    },
    /// The two don't belong together, or rustls can't serve with them.
    #[error("this certificate and key cannot be served with; do they belong together?")]
    Unusable(#[source] rustls::Error),
    /// A certificate that belongs to its key, and that nobody accepts.
    #[error("{name} {why}")]
    Unacceptable {
        /// The file, or the Secret's entry.
        name: String,
        /// What the API server would have against it.
        why: Unacceptable,
    },
    /// A certificate whose lifetime can't be read.
    #[error("{name} begins with something that is no X.509 certificate")]
    NotX509 {
        /// The file, or the Secret's entry.
        name: String,
    },
}

/// A PEM text, and what to call it in errors.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    /// A file's path, or a Secret's entry.
    pub name: &'a str,
    /// What it holds.
    pub text: &'a [u8],
}

impl ServingCertificate {
    /// Reads a certificate chain (leaf first) and its private key, both PEM.
    ///
    /// # Errors
    /// If one of them is damaged or something else, or they don't belong together.
    pub fn parse(chain: Named<'_>, key: Named<'_>) -> Result<Self, CertificateError> {
        let certificates = pem::certificates(chain.name, chain.text)?;
        let key = pem::private_key(key.name, key.text)?;
        let validity = Validity::of(&certificates[0]).ok_or_else(|| CertificateError::NotX509 {
            name: chain.name.to_owned(),
        })?;
        let config = config(certificates.clone(), key).map_err(CertificateError::Unusable)?;
        Ok(Self {
            chain: certificates,
            validity,
            config: Arc::new(config),
        })
    }

    /// For how long clients accept its leaf.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Whether the API server accepts it at this time, if it trusts these CAs and calls
    /// the webhook so. `name` is what the chain is called in the error.
    ///
    /// # Errors
    /// If it does not.
    pub fn accepted_by(
        &self,
        name: &str,
        cas: &[CaPem],
        host: Option<&str>,
        at: SystemTime,
    ) -> Result<(), CertificateError> {
        acceptance::accepted(&self.chain, cas, host, at).map_err(|why| {
            CertificateError::Unacceptable {
                name: name.to_owned(),
                why,
            }
        })
    }

    /// What serves TLS with it.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

#[cfg(test)]
mod tests;
