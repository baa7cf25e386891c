//! Whose a Secret is, and what is in it.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use crate::certificate::{
    CaPem, Named, ServingCertificate,
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
    pub(super) fn read(secret: &Secret, host: &str) -> Self {
        let data = secret.data.clone().unwrap_or_default();
        let ours = secret.labels().get(MANAGED_BY).is_some_and(|by| by == OURS)
            && !secret.annotations().contains_key(CERT_MANAGER);
        if ours {
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
            let cas = data.get(CAS).map(|text| CaPem::all_in(&text.0));
            Ok(Given {
                certificate,
                anchors: Anchors {
                    cas: cas.unwrap_or_default(),
                    origin: Origin::Given,
                },
            })
        };
        Self::Given(given())
    }
}
