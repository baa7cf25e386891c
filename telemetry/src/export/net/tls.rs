//! Whose certificates are trusted, and what is shown to who asks.

use std::sync::Arc;

use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::config::ClientCertificate;

/// What is spoken once TLS is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    Http1,
    Http2,
}

/// Why the certificates that a backend is to be judged by, or that it is shown, are none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCertificates {
    #[error("ca has no certificate in PEM")]
    None,
    #[error("ca has a certificate that cannot be read: {0}")]
    Unreadable(String),
    #[error("client-certificate and client-key are no pair: {0}")]
    Client(String),
}

/// A connector that trusts `ca`, one or more certificates in PEM, or what browsers
/// trust, and shows `client`.
pub(crate) fn connector(
    ca: Option<&str>,
    client: Option<&ClientCertificate>,
    alpn: Alpn,
) -> Result<TlsConnector, BadCertificates> {
    let roots = match ca {
        Some(pem) => certificates(pem)?,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what the default versions need")
        .with_root_certificates(roots);
    let mut config = match client {
        Some(client) => {
            let (chain, key) = pair(client).map_err(BadCertificates::Client)?;
            let shown = config.with_client_auth_cert(chain, key);
            shown.map_err(|error| BadCertificates::Client(error.to_string()))?
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![match alpn {
        Alpn::Http1 => b"http/1.1".to_vec(),
        Alpn::Http2 => b"h2".to_vec(),
    }];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What is wrong with them is said without the key.
fn pair(
    client: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(client.chain.as_bytes()).collect();
    let chain = chain.map_err(|_| "the certificate cannot be read")?;
    if chain.is_empty() {
        return Err("there is no certificate in PEM".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(client.key.reveal().as_bytes());
    Ok((chain, key.map_err(|_| "there is no key in PEM")?))
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
    use crate::config::Secret;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let refused = |pem| connector(Some(pem), None, Alpn::Http1).map(drop);
        assert_eq!(refused(""), Err(BadCertificates::None));
        let bad = refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(
            matches!(bad, Err(BadCertificates::Unreadable(_))),
            "{bad:?}"
        );
    }

    #[test]
    fn the_public_ones_are_there() {
        assert!(connector(None, None, Alpn::Http2).is_ok());
    }

    #[test]
    fn what_is_no_pair_is_refused_without_a_word_of_the_key() {
        let own = rcgen::generate_simple_self_signed(["sidecar".to_owned()]).expect("a pair");
        let other = rcgen::generate_simple_self_signed(["other".to_owned()]).expect("a pair");
        let shown = |chain: &str, key: &str| {
            let client = ClientCertificate {
                chain: chain.to_owned(),
                key: Secret::new(key.to_owned()),
            };
            connector(None, Some(&client), Alpn::Http1).map(drop)
        };
        let (chain, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        assert_eq!(shown(&chain, &key), Ok(()));
        let other = other.signing_key.serialize_pem();
        for (chain, key) in [
            ("", &*key),
            (&*chain, ""),
            (&*chain, "s3cret"),
            (&*chain, &*other),
        ] {
            let refused = shown(chain, key).expect_err("it is no pair").to_string();
            assert!(refused.starts_with("client-certificate and"), "{refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
