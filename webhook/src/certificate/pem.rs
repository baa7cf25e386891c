//! PEM: of files and of a Secret's entries, which are named in the errors alike.

use std::io;

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::CertificateError;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// A CA that the API server is to trust: one certificate block in a normal form, so
/// that equal ones compare equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaPem(pub String);

impl CaPem {
    /// The certificate blocks of a PEM text, in their order. Whatever is around or
    /// between them is left out.
    #[must_use]
    pub fn all_in(text: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(text);
        text.split(BEGIN)
            .skip(1)
            .filter_map(|rest| rest.split_once(END))
            .map(|(base64, _)| {
                let base64 = base64.replace('\r', "");
                Self(format!("{BEGIN}\n{}\n{END}\n", base64.trim()))
            })
            .collect()
    }

    /// The same of a text that is to have at least one.
    ///
    /// # Errors
    /// If it has none.
    pub fn some_in(name: &str, text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        let cas = Self::all_in(text);
        if cas.is_empty() {
            return Err(empty(name, "certificate"));
        }
        Ok(cas)
    }

    /// Its DER, if it decodes.
    #[must_use]
    pub fn der(&self) -> Option<CertificateDer<'static>> {
        rustls_pemfile::certs(&mut self.0.as_bytes()).next()?.ok()
    }
}

/// All certificates of a text, of which it has at least one.
pub(super) fn certificates(
    name: &str,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates: Vec<_> = rustls_pemfile::certs(&mut &*text)
        .collect::<Result<_, _>>()
        .map_err(|source| damaged(name, source))?;
    if certificates.is_empty() {
        return Err(empty(name, "certificate"));
    }
    Ok(certificates)
}

/// The first private key of a text: PKCS#8, PKCS#1 or SEC1.
pub(super) fn private_key(
    name: &str,
    text: &[u8],
) -> Result<PrivateKeyDer<'static>, CertificateError> {
    rustls_pemfile::private_key(&mut &*text)
        .map_err(|source| damaged(name, source))?
        .ok_or_else(|| empty(name, "private key"))
}

fn damaged(name: &str, source: io::Error) -> CertificateError {
    CertificateError::Damaged {
        name: name.to_owned(),
        source,
    }
}

fn empty(name: &str, lacks: &'static str) -> CertificateError {
    CertificateError::Empty {
        name: name.to_owned(),
        lacks,
    }
}
