//! Whose certificates are trusted.

use std::sync::Arc;

use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

/// What is spoken once TLS is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    Http1,
    Http2,
}

/// Why the certificates that a backend is to be judged by are none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCertificates {
    #[error("ca has no certificate in PEM")]
    None,
    #[error("ca has a certificate that cannot be read: {0}")]
    Unreadable(String),
}

/// A connector that trusts `ca`, one or more certificates in PEM, or what browsers
/// trust.
pub(crate) fn connector(ca: Option<&str>, alpn: Alpn) -> Result<TlsConnector, BadCertificates> {
    let roots = match ca {
        Some(pem) => certificates(pem)?,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what the default versions need")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![match alpn {
        Alpn::Http1 => b"http/1.1".to_vec(),
        Alpn::Http2 => b"h2".to_vec(),
    }];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(pem: &str) -> Result<RootCertStore, BadCertificates> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate =
            certificate.map_err(|error| BadCertificates::Unreadable(format!("{error:?}")))?;
        let added = roots.add(certificate);
        added.map_err(|error| BadCertificates::Unreadable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(BadCertificates::None);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let refused = |pem| connector(Some(pem), Alpn::Http1).map(drop);
        assert_eq!(refused(""), Err(BadCertificates::None));
        let bad = refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(
            matches!(bad, Err(BadCertificates::Unreadable(_))),
            "{bad:?}"
        );
    }

    #[test]
    fn the_public_ones_are_there() {
        assert!(connector(None, Alpn::Http2).is_ok());
    }
}
