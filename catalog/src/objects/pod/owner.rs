//! What a pod belongs to, as people would say.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use netting_telemetry::resource::{self, TEMPLATE_HASH};

/// A pod's controller, or the Deployment or CronJob behind it. Empty for a pod that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Such as `Deployment`.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Owner {
    pub(super) fn of(pod: &ObjectMeta) -> Self {
        let mut owners = pod.owner_references.iter().flatten();
        let Some(owner) = owners.find(|owner| owner.controller == Some(true)) else {
            return Self::default();
        };
        let labels = pod.labels.as_ref();
        let hash = labels.and_then(|labels| labels.get(TEMPLATE_HASH));
        let hash = hash.map(String::as_str);
        let (kind, name) = resource::workload(&owner.kind, &owner.name, hash);
        Self {
            kind: kind.into(),
            name: name.into(),
        }
    }
}
