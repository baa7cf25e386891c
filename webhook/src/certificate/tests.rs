//! Files that are not what they should be; and what is self-made.

use std::{fs, path::Path};

use super::*;

fn made() -> (String, String) {
    let (_, leaf, key) = make("webhook.test.svc").expect("the name is a name");
    (leaf.pem(), key.serialize_pem())
}

fn load(dir: &Path, chain: &str, key: &str) -> Result<TlsAcceptor, CertificateError> {
    let (chain_path, key_path) = (dir.join("tls.crt"), dir.join("tls.key"));
    fs::write(&chain_path, chain).expect("a temporary file can be written");
    fs::write(&key_path, key).expect("a temporary file can be written");
    ServingCertificate::load(&chain_path, &key_path)?.into_acceptor()
}

#[test]
fn refuses_files_that_cannot_be_served_with_and_names_them() {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    let (chain, key) = made();
    let (_, other_key) = made();
    for (chain, key, says) in [
        ("", key.as_str(), "tls.crt has no certificate"),
        (&chain, "", "tls.key has no private key"),
        (&key, &chain, "tls.crt has no certificate"),
        (&chain[..100], &key, "tls.crt has"),
        (
            "-----BEGIN CERTIFICATE-----\n@@\n-----END CERTIFICATE-----\n",
            &key,
            "tls.crt has a damaged",
        ),
        (&chain, &other_key, "do they belong together"),
    ] {
        let Err(error) = load(dir.path(), chain, key) else {
            panic!("served with files where {says}");
        };
        assert!(error.to_string().contains(says), "{error}: expected {says}");
    }
    let missing = dir.path().join("nowhere");
    let error = ServingCertificate::load(&missing, &missing).expect_err("there is no such file");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn serves_with_a_given_certificate() {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    let (chain, key) = made();
    assert!(load(dir.path(), &chain, &key).is_ok());
}

#[test]
fn a_self_made_certificate_is_valid_for_its_service_under_its_ca_alone() {
    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        pki_types::{UnixTime, pem::PemObject as _},
    };

    let verify = |ca: &CaPem, leaf: &CertificateDer<'_>, host: &'static str| {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(ca.0.as_bytes()).expect("the CA is PEM");
        roots.add(ca).expect("the CA is a certificate");
        let provider = Arc::new(ring::default_provider());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("there is a root")
            .verify_server_cert(
                leaf,
                &[],
                &host.try_into().expect("a name"),
                &[],
                UnixTime::now(),
            )
    };
    let (serving, ca) = ServingCertificate::make("netting-webhook", "netting").expect("made");
    let (_, other_ca) = ServingCertificate::make("netting-webhook", "netting").expect("made");
    let leaf = &serving.chain[0];
    verify(&ca, leaf, "netting-webhook.netting.svc").expect("as the API server calls it");
    verify(&ca, leaf, "netting-webhook.netting.svc.cluster.local").expect("in full");
    verify(&ca, leaf, "netting-webhook.other.svc").expect_err("another namespace");
    verify(&other_ca, leaf, "netting-webhook.netting.svc").expect_err("another CA");
}
