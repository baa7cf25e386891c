//! A certificate made here, and the CA that it is trusted by.
//!
//! The CA's key is forgotten as soon as it has signed the one certificate: whoever
//! reads the Secret gets nothing that would sign another name. So both live equally
//! long, and each renewal changes both: there is one kind of rotation, and it is
//! exercised every two months rather than once in years.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use super::CaPem;

/// Renewed at two thirds, which leaves a month in which a cluster may be off, or
/// the webhook unable to write its Secret.
pub const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The API server's clock may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// A certificate chain and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// Leaf first.
    pub chain: String,
    /// PKCS#8.
    pub key: String,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct SelfMade {
    /// What the API server needs in order to trust it.
    pub ca: CaPem,
    /// What is served with.
    pub pair: Pair,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate for {host}")]
pub struct MakeError {
    host: String,
    #[source]
    source: rcgen::Error,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// Makes an ECDSA P-256 CA and a certificate for a host, `netting-webhook.netting.svc`,
/// which hold from now on.
///
/// # Errors
/// If the name can't be put into a certificate, or the system has no randomness.
pub fn make(host: &str, now: SystemTime) -> Result<SelfMade, MakeError> {
    sign(host, now).map_err(|source| MakeError {
        host: host.to_owned(),
        source,
    })
}

fn sign(host: &str, now: SystemTime) -> Result<SelfMade, rcgen::Error> {
    let mut ca = params("netting-webhook CA", Vec::new(), now)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

    let names = vec![host.to_owned(), format!("{host}.cluster.local")];
    let mut leaf = params(host, names, now)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &ca)?;
    let ca = CaPem::all_in(ca.pem().as_bytes());
    Ok(SelfMade {
        ca: ca.into_iter().next().expect("a certificate is one block"),
        pair: Pair {
            chain: leaf.pem(),
            key: key.serialize_pem(),
        },
    })
}

fn params(
    name: &str,
    dns_names: Vec<String>,
    now: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(dns_names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + LIFETIME).into();
    Ok(params)
}
