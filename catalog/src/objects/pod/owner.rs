//! What a pod belongs to, as people would say.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The label whose value a ReplicaSet has behind the name of its Deployment.
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label>
const TEMPLATE_HASH: &str = "pod-template-hash";

/// A pod's controller, or the Deployment behind it. Empty for a pod that has none.
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
        let (kind, name) = (owner.kind.as_str(), owner.name.as_str());
        let labels = pod.labels.as_ref().filter(|_| kind == "ReplicaSet");
        let hash = labels.and_then(|labels| labels.get(TEMPLATE_HASH));
        let deployment = hash.and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        match deployment {
            Some(name) => Self::named("Deployment", name),
            None => Self::named(kind, name),
        }
    }

    fn named(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.into(),
            name: name.into(),
        }
    }
}
