//! The kinds of objects that Netting consists of.

use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject},
};
use serde_json::Value;

use crate::cluster::Cluster;

/// A kind, and where its objects are.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Its group, version and plural.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// All of them, in the order in which they are removed: first what makes the API server
/// ask, then who answers, at last where that was. The certificate's Secret is made by
/// the webhook, which makes it again for as long as it runs.
pub const ALL: [fn() -> Kind; 14] = [
    || Kind::of::<MutatingWebhookConfiguration>(false),
    || Kind::of::<Deployment>(true),
    || Kind::of::<PodDisruptionBudget>(true),
    || Kind::of::<Service>(true),
    || Kind::of::<Secret>(true),
    || Kind::of::<ConfigMap>(true),
    || Kind::of::<ClusterRoleBinding>(false),
    || Kind::of::<ClusterRole>(false),
    || Kind::of::<RoleBinding>(true),
    || Kind::of::<Role>(true),
    || Kind::of::<ServiceAccount>(true),
    || Kind::of::<NetworkPolicy>(true),
    || Kind::of::<ResourceQuota>(true),
    || Kind::of::<Namespace>(false),
];

impl Kind {
    fn of<K: Resource<DynamicType = ()>>(namespaced: bool) -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            namespaced,
        }
    }

    /// The kind of an object, if it is one of Netting's.
    #[must_use]
    pub fn find(object: &Value) -> Option<Self> {
        let mut kinds = ALL.iter().map(|kind| kind());
        kinds.find(|kind| {
            object["kind"] == kind.resource.kind
                && object["apiVersion"] == kind.resource.api_version
        })
    }

    /// Where an object of the kind is.
    #[must_use]
    pub fn api(&self, cluster: &Cluster, object: &Value) -> Api<DynamicObject> {
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) if self.namespaced => {
                Api::namespaced_with(cluster.client(), namespace, &self.resource)
            }
            _ => Api::all_with(cluster.client(), &self.resource),
        }
    }

    /// An object as plain JSON, which says its kind; those in lists don't.
    pub(super) fn value(&self, object: &DynamicObject) -> Value {
        let mut value = serde_json::to_value(object).expect("an object is JSON");
        value["apiVersion"] = self.resource.api_version.as_str().into();
        value["kind"] = self.resource.kind.as_str().into();
        value
    }
}
