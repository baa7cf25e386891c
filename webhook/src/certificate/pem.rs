//! PEM files.

use std::{fs, io, path::Path};

use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::CertificateError;

/// All certificates of a file, of which it has at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(path)?;
    let certificates: Vec<_> = rustls_pemfile::certs(&mut text.as_slice())
        .collect::<Result<_, _>>()
        .map_err(|source| damaged(path, source))?;
    if certificates.is_empty() {
        return Err(empty(path, "certificate"));
    }
    Ok(certificates)
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let text = read(path)?;
    rustls_pemfile::private_key(&mut text.as_slice())
        .map_err(|source| damaged(path, source))?
        .ok_or_else(|| empty(path, "private key"))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|source| CertificateError::Read {
        path: path.to_owned(),
        source,
    })
}

fn damaged(path: &Path, source: io::Error) -> CertificateError {
    CertificateError::Damaged {
        path: path.to_owned(),
        source,
    }
}

fn empty(path: &Path, lacks: &'static str) -> CertificateError {
    CertificateError::Empty {
        path: path.to_owned(),
        lacks,
    }
}
