//! The cluster's own certificate authority, and the server's certificate.

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;

use crate::https;

/// A certificate authority made for one cluster; it lives as long as the process.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's certificate, for clients to trust.
    pub(crate) pem: String,
}

impl Authority {
    /// Makes a new one.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "kubernetes");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().context("make the authority's key")?;
        let certificate = params
            .self_signed(&key)
            .context("sign the authority's certificate")?;
        Ok(Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// What a TLS server presents that is reached under any of `names` (DNS names and addresses).
    pub(crate) fn acceptor(&self, names: Vec<String>) -> anyhow::Result<TlsAcceptor> {
        let mut params = CertificateParams::new(names).context("name the server's certificate")?;
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().context("make the server's key")?;
        let certificate = params.signed_by(&key, &self.issuer);
        let certificate = certificate.context("sign the server's certificate")?;
        https::acceptor(certificate.der().clone(), key.serialize_der())
    }
}
