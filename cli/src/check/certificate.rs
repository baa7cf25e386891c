//! Whether the API server can trust the webhook, and for how long.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::ResourceExt as _;
use netting_webhook::{
    certificate::{
        CaPem, CertificateDer, Unacceptable, Validity,
        acceptance::accepted,
        secret::is_ours,
        shared::{CAS, CHAIN},
    },
    names::{self, WEBHOOK, WEBHOOK_SECRET as SECRET},
};

use super::{Code, Facts, Finding, facts::Mesh};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn findings(facts: &Facts, mesh: &Mesh) -> Vec<Finding> {
    let subject = || format!("secret/{SECRET}");
    let secret = match &mesh.secret {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            return vec![Code::CertificateBad.finding(
                subject(),
                "is not there, so the webhook has no certificate that its replicas share",
                "look at the webhook's log: it makes the Secret unless its Role lacks `create secrets`",
            )];
        }
        Err(unknown) => return vec![unknown.told(Code::ControlPlaneUnknown, subject())],
    };
    let host = format!("{WEBHOOK}.{}.svc", facts.system_namespace);
    let mut findings = vec![validity(secret, &host, facts.now)];
    if let Ok(all) = &mesh.configurations {
        let ours = all
            .iter()
            .filter(|one| one.name_any() == names::WEBHOOK_CONFIGURATION);
        findings.extend(ours.map(|one| bundle(one, secret)));
    }
    findings
}

/// What the Secret holds under a name, as certificates.
fn certificates(secret: &Secret, name: &str) -> Vec<CaPem> {
    let data = secret.data.as_ref().and_then(|data| data.get(name));
    data.map(|text| CaPem::all_in(&text.0)).unwrap_or_default()
}

/// What the Secret has for the webhook to serve with: leaf first.
fn chain(secret: &Secret) -> Vec<CertificateDer<'static>> {
    let chain = certificates(secret, CHAIN);
    chain.iter().filter_map(CaPem::der).collect()
}

/// Whether the webhook serves the Secret's certificate, by the webhook's own rules.
fn validity(secret: &Secret, host: &str, now: SystemTime) -> Finding {
    let subject = format!("secret/{SECRET}");
    let chain = chain(secret);
    let Some(validity) = chain.first().and_then(|der| Validity::of(der)) else {
        return Code::CertificateBad.finding(
            subject,
            format!("its {CHAIN} is no certificate"),
            "delete the Secret: the webhook makes another one",
        );
    };
    let restart = if is_ours(secret) {
        "look at the webhook's log for why it was not renewed; \
         deleting the Secret has it made anew"
    } else {
        "have whoever wrote the Secret write a certificate for the webhook's Service, and its \
         CA as ca.crt; deleting the Secret has one made"
    };
    if let Err(why) = accepted(&chain, &certificates(secret, CAS), Some(host), now) {
        return Code::CertificateBad.finding(subject, format!("its {CHAIN} {why}"), restart);
    }
    let left = validity.not_after.duration_since(now).unwrap_or_default();
    let days = left.as_secs() / DAY.as_secs();
    // It is renewed at two thirds of its life, by a replica that looks every hour.
    if validity.renew_at() + DAY < now {
        let message = format!("the certificate ends in {days} days, and was not renewed in time");
        return Code::CertificateEnds.finding(subject, message, restart);
    }
    Code::CertificateGood.told(
        subject,
        format!("the webhook's certificate holds for {days} days"),
    )
}

/// Whether each webhook's `caBundle` has all CAs of the Secret, and what the certificate
/// is signed by.
fn bundle(configuration: &MutatingWebhookConfiguration, secret: &Secret) -> Finding {
    let subject = format!("mutatingwebhookconfiguration/{}", configuration.name_any());
    let (cas, chain) = (certificates(secret, CAS), chain(secret));
    let lacking = configuration.webhooks.iter().flatten().filter(|webhook| {
        let bundle = webhook.client_config.ca_bundle.as_ref();
        let trusted = bundle
            .map(|bundle| CaPem::all_in(&bundle.0))
            .unwrap_or_default();
        let trusts = |ca: &CaPem| trusted.iter().any(|one| one.der() == ca.der());
        // Of what has expired or is for another host something else is said.
        let midlife = chain.first().and_then(|leaf| Validity::of(leaf));
        let midlife = midlife.map_or(SystemTime::UNIX_EPOCH, Validity::renew_at);
        let refused = accepted(&chain, &trusted, None, midlife);
        !cas.iter().all(trusts) || matches!(refused, Err(Unacceptable::Issuer(_)))
    });
    let lacking: Vec<&str> = lacking.map(|webhook| webhook.name.as_str()).collect();
    if lacking.is_empty() && cas.is_empty() {
        let message =
            format!("secret/{SECRET} has no {CAS}, so the caBundle is left to whoever made it");
        return Code::CaBundleGood.told(subject, message);
    }
    if lacking.is_empty() {
        return Code::CaBundleGood.told(subject, "the API server trusts the webhook's certificate");
    }
    Code::CaBundleBad.finding(
        subject,
        format!("the caBundle of {} lacks the CA of secret/{SECRET}", lacking.join(" and ")),
        "the webhook writes it by itself: see its log, and whether its ClusterRole still allows to patch this",
    )
}
