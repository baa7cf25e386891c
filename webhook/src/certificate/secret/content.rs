//! Whose a Secret is, and what is in it.

use std::time::SystemTime;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use crate::certificate::{
    CaPem, CertificateError, Named, ServingCertificate,
    serving::{Anchors, Origin},
    shared::{CAS, CHAIN, Damaged, KEY, Shared},
};

/// The label by which a Secret is ours.
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// That label's value.
pub(super) const OURS: &str = "netting-webhook";
/// With this, cert-manager has taken it over, whatever its labels still say.
const CERT_MANAGER: &str = "cert-manager.io/certificate-name";

/// What a Secret holds.
pub(super) enum Content {
    /// Made by one of our replicas.
    Ours(Result<Shared, Damaged>),
    /// Put there by somebody else.
    Given(Result<Given, Damaged>),
}

/// A certificate that is not ours to renew.
pub(super) struct Given {
    pub(super) certificate: ServingCertificate,
    /// The CAs beside it. None, and the bundle is not ours to keep either.
    pub(super) anchors: Anchors,
}

impl Content {
    /// What is in it, to be served to whoever calls the webhook `host`.
    pub(super) fn read(secret: &Secret, host: &str, now: SystemTime) -> Self {
        let data = secret.data.clone().unwrap_or_default();
        if is_ours(secret) {
            return Self::Ours(Shared::read(&data, host));
        }
        let named = |name| {
            let text = data.get(name).ok_or(Damaged::Lacks(name))?;
            Ok::<_, Damaged>(Named {
                name,
                text: &text.0,
            })
        };
        let given = || {
            let certificate = ServingCertificate::parse(named(CHAIN)?, named(KEY)?)?;
            // cert-manager leaves it empty where an issuer tells it no CA.
            let cas = data.get(CAS).filter(|text| !text.0.is_empty());
            let cas = cas.map(|text| CaPem::some_in(CAS, &text.0)).transpose()?;
            let cas = cas.unwrap_or_default();
            certificate.accepted_by(CHAIN, &cas, Some(host), now)?;
            let origin = Origin::Given;
            Ok(Given {
                certificate,
                anchors: Anchors { cas, origin },
            })
        };
        Self::Given(given())
    }
}

/// Whether a Secret was made by one of our replicas, which then renew it.
#[must_use]
pub fn is_ours(secret: &Secret) -> bool {
    secret.labels().get(MANAGED_BY).is_some_and(|by| by == OURS)
        && !secret.annotations().contains_key(CERT_MANAGER)
}

/// When what is wrong with a given Secret will be right by itself.
pub(super) fn right_at(damaged: &Damaged) -> Option<SystemTime> {
    match damaged {
        Damaged::Unusable(CertificateError::Unacceptable { why, .. }) => why.over_at(),
        _ => None,
    }
}
