//! Whether the API server would accept a certificate. One that it would not never takes
//! the place of one that works, whoever made it.
//!
//! The API server is Go, and verifies a little differently than we can. So what is
//! refused here is what is refused everywhere: another name, another CA, another time.
//! What can't be told (P-521, which ring doesn't know; a CA's own certificate that is
//! served with) passes.

use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::{
    self, CertificateError as Rejection, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{CaPem, Validity};

/// Why the API server would not accept a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// Its time is over.
    #[error("has expired at {}; renew it", humantime::format_rfc3339_seconds(*.0))]
    Expired(SystemTime),
    /// Its time has not come.
    #[error("is not valid before {}", humantime::format_rfc3339_seconds(*.0))]
    Early(SystemTime),
    /// It is for somebody else.
    #[error("is not for {host}, as which the API server calls the webhook: {why}")]
    Name {
        /// Whom it should be for.
        host: String,
        /// Whom it is for.
        why: String,
    },
    /// It is of another CA, or not for servers.
    #[error("is refused by whoever trusts its CAs alone: {0}")]
    Issuer(String),
}

impl Unacceptable {
    /// When there is nothing against it any more by itself.
    #[must_use]
    pub fn over_at(&self) -> Option<SystemTime> {
        match self {
            Self::Early(at) => Some(*at),
            Self::Expired(_) | Self::Name { .. } | Self::Issuer(_) => None,
        }
    }
}

/// Whether a client that trusts these CAs accepts the chain (leaf first) at a time, from
/// a server that it calls so. Without CAs, nobody knows which ones it trusts, and without
/// a host, how it calls the server: then that is not asked.
///
/// # Errors
/// If it does not.
pub fn accepted(
    chain: &[CertificateDer<'_>],
    cas: &[CaPem],
    host: Option<&str>,
    at: SystemTime,
) -> Result<(), Unacceptable> {
    let Some((leaf, others)) = chain.split_first() else {
        return Err(Unacceptable::Issuer("there is no certificate".to_owned()));
    };
    if let Some(validity) = Validity::of(leaf) {
        if at < validity.not_before {
            return Err(Unacceptable::Early(validity.not_before));
        }
        if validity.expired(at) {
            return Err(Unacceptable::Expired(validity.not_after));
        }
    }
    let Ok(leaf) = ParsedCertificate::try_from(leaf) else {
        return Ok(());
    };
    if let Some(host) = host {
        is_for(&leaf, host)?;
    }
    let pinned = |ca: &CaPem| ca.der().is_some_and(|der| der == chain[0]);
    if cas.is_empty() || cas.iter().any(pinned) {
        return Ok(());
    }
    is_signed(&leaf, others, cas, at)
}

fn is_for(leaf: &ParsedCertificate<'_>, host: &str) -> Result<(), Unacceptable> {
    let name = |why: String| Unacceptable::Name {
        host: host.to_owned(),
        why,
    };
    let server = ServerName::try_from(host).map_err(|error| name(error.to_string()))?;
    verify_server_name(leaf, &server).map_err(|error| name(error.to_string()))
}

fn is_signed(
    leaf: &ParsedCertificate<'_>,
    others: &[CertificateDer<'_>],
    cas: &[CaPem],
    at: SystemTime,
) -> Result<(), Unacceptable> {
    // Go refuses a CA whose time is over; webpki takes any that is trusted.
    let in_time =
        |der: &CertificateDer<'_>| Validity::of(der).is_some_and(|validity| validity.holds(at));
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(cas.iter().filter_map(CaPem::der).filter(in_time));
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH);
    let at = UnixTime::since_unix_epoch(since_epoch.unwrap_or(Duration::ZERO));
    let algorithms = ring::default_provider()
        .signature_verification_algorithms
        .all;
    match verify_server_cert_signed_by_trust_anchor(leaf, &roots, others, at, algorithms) {
        Err(error) if is_proof(&error) => Err(Unacceptable::Issuer(error.to_string())),
        _ => Ok(()),
    }
}

/// Whether nobody accepts a chain that is rejected for this.
fn is_proof(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(rejection) = error else {
        return false;
    };
    matches!(
        rejection,
        Rejection::UnknownIssuer
            | Rejection::BadSignature
            | Rejection::Expired
            | Rejection::ExpiredContext { .. }
            | Rejection::NotValidYet
            | Rejection::NotValidYetContext { .. }
            | Rejection::InvalidPurpose
            | Rejection::InvalidPurposeContext { .. }
    )
}

#[cfg(test)]
mod tests;
