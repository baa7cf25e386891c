//! Certificates of all sorts; how the API server would take them is Go's crypto/x509.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use super::*;
use crate::certificate::self_made;

const HOST: &str = "netting-webhook.netting.svc";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("it is a name");
    params.distinguished_name.push(DnType::CommonName, name);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let now = SystemTime::now();
    params.not_before = (now - 10 * DAY).into();
    params.not_after = (now + 10 * DAY).into();
    params
}

fn ca(params: CertificateParams) -> Issuer {
    CertifiedIssuer::self_signed(params, key()).expect("a CA signs itself")
}

fn pem(issuer: &Issuer) -> CaPem {
    CaPem::some_in("ca", issuer.pem().as_bytes())
        .expect("it is PEM")
        .remove(0)
}

fn signed(params: &CertificateParams, issuer: &Issuer) -> CertificateDer<'static> {
    let leaf = params.signed_by(&key(), issuer).expect("a CA signs");
    leaf.der().clone()
}

fn refusal(chain: &[CertificateDer<'_>], cas: &[CaPem]) -> String {
    let refused = accepted(chain, cas, Some(HOST), SystemTime::now());
    refused.expect_err("it would not be accepted").to_string()
}

#[test]
fn refuses_what_the_api_server_would_and_says_why() {
    let (right, other) = (ca(params("ca", true)), ca(params("other", true)));
    let namesake = ca(params("ca", true));
    let mut over = params("ca", true);
    over.not_after = (SystemTime::now() - DAY).into();
    let over = ca(over);
    let mut client = params(HOST, false);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params(HOST, false);
    let for_host = signed(&leaf, &right);
    let issuer = "is refused by whoever trusts its CAs alone";
    for (chain, ca, why) in [
        (
            signed(&params("netting-webhook.netting", false), &right),
            &right,
            "is not for",
        ),
        (for_host.clone(), &other, issuer),
        (for_host.clone(), &namesake, issuer),
        (signed(&leaf, &over), &over, issuer),
        (signed(&client, &right), &right, issuer),
    ] {
        let refused = refusal(&[chain], &[pem(ca)]);
        assert!(refused.contains(why), "{refused}: expected {why}");
    }
    let inner = CertifiedIssuer::signed_by(params("inner", true), key(), &right);
    let inner = inner.expect("a CA signs another");
    let refused = refusal(&[signed(&leaf, &inner)], &[pem(&right)]);
    assert!(refused.contains(issuer), "a link is missing: {refused}");
    assert!(refusal(&[], &[pem(&right)]).contains("no certificate"));
}

#[test]
fn says_when_one_has_expired_and_when_one_will_do() {
    let now = SystemTime::now();
    for (made, why) in [(now - 100 * DAY, "has expired"), (now + 2 * DAY, "before")] {
        let made = self_made::make(HOST, made).expect("it is a name");
        let chain = CaPem::all_in(made.pair.chain.as_bytes());
        let chain: Vec<_> = chain.iter().filter_map(CaPem::der).collect();
        let refused = accepted(&chain, &[made.ca], Some(HOST), now);
        let refused = refused.expect_err("it is not valid now");
        assert!(refused.to_string().contains(why), "{refused}");
        assert_eq!(refused.over_at().is_some(), why == "before");
    }
}

#[test]
fn accepts_what_goes_beyond_what_we_can_verify_and_go_accepts() {
    let root = ca(params("ca", true));
    let inner = CertifiedIssuer::signed_by(params("inner", true), key(), &root);
    let inner = inner.expect("a CA signs another");
    let leaf = signed(&params(HOST, false), &inner);
    let itself = ca(params(HOST, true));
    let (plain, pinned) = (ca(params(HOST, false)), signed(&params(HOST, false), &root));
    let pinned_pem = {
        let base64 = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &pinned);
        CaPem(format!(
            "-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n"
        ))
    };
    for (what, chain, cas) in [
        (
            "a chain",
            vec![leaf.clone(), inner.der().clone()],
            vec![pem(&root)],
        ),
        ("an inner CA as root", vec![leaf], vec![pem(&inner)]),
        (
            "a CA that serves",
            vec![itself.der().clone()],
            vec![pem(&itself)],
        ),
        ("self-signed", vec![plain.der().clone()], vec![pem(&plain)]),
        ("pinned", vec![pinned.clone()], vec![pinned_pem]),
        ("of unknown trust", vec![pinned], Vec::new()),
    ] {
        let verdict = accepted(&chain, &cas, Some(HOST), SystemTime::now());
        assert_eq!(verdict, Ok(()), "{what}");
    }
}
