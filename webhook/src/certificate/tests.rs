//! Texts that are not what they should be; and what is self-made.

use std::time::SystemTime;

use super::*;

fn made() -> self_made::Pair {
    self_made::make("webhook.test.svc", SystemTime::now())
        .expect("the name is a name")
        .pair
}

fn parse(chain: &str, key: &str) -> Result<ServingCertificate, CertificateError> {
    let named = |name, text: &'static [u8]| Named { name, text };
    let leak = |text: &str| Vec::leak(text.as_bytes().to_vec()) as &'static [u8];
    ServingCertificate::parse(named("tls.crt", leak(chain)), named("tls.key", leak(key)))
}

#[test]
fn refuses_what_cannot_be_served_with_and_names_it() {
    let self_made::Pair { chain, key } = made();
    let other_key = made().key;
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
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            "no X.509 certificate",
        ),
        (&chain, &other_key, "do they belong together"),
    ] {
        let Err(error) = parse(chain, key) else {
            panic!("served with texts where {says}");
        };
        assert!(error.to_string().contains(says), "{error}: expected {says}");
    }
}

#[test]
fn serves_with_a_given_certificate() {
    let self_made::Pair { chain, key } = made();
    let certificate = parse(&chain, &key).expect("they belong together");
    assert!(!certificate.validity().expired(SystemTime::now()));
}

#[test]
fn a_ca_is_the_same_however_its_lines_end_and_whatever_is_around_it() {
    let made = self_made::make("webhook.test.svc", SystemTime::now()).expect("it is a name");
    let text = format!("# a comment\r\n{}garbage", made.ca.0.replace('\n', "\r\n"));
    assert_eq!(CaPem::all_in(text.as_bytes()), [made.ca]);
    assert_eq!(CaPem::all_in(b"-----BEGIN CERTIFICATE-----\nAAAA"), []);
}

#[test]
fn a_self_made_certificate_is_valid_for_its_service_under_its_ca_alone() {
    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        pki_types::UnixTime,
    };

    let verify = |ca: &CaPem, leaf: &CertificateDer<'_>, host: &'static str| {
        let mut roots = RootCertStore::empty();
        roots
            .add(ca.der().expect("the CA is PEM"))
            .expect("the CA is a certificate");
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
    let make = || self_made::make("netting-webhook.netting.svc", SystemTime::now()).expect("made");
    let (made, other) = (make(), make());
    let certificate = parse(&made.pair.chain, &made.pair.key).expect("they belong together");
    let leaf = &certificate.chain()[0];
    verify(&made.ca, leaf, "netting-webhook.netting.svc").expect("as the API server calls it");
    verify(&made.ca, leaf, "netting-webhook.netting.svc.cluster.local").expect("in full");
    verify(&made.ca, leaf, "netting-webhook.other.svc").expect_err("another namespace");
    verify(&other.ca, leaf, "netting-webhook.netting.svc").expect_err("another CA");
}
