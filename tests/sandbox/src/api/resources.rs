//! The table of what the server serves. Everything that is generic reads it.

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{
        admissionregistration::v1 as admission, apps::v1 as apps, authentication::v1 as authn,
        authorization::v1 as authz, batch::v1 as batch, coordination::v1 as coordination,
        core::v1 as core, discovery::v1 as discovery, events::v1 as events,
        networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A kind of object and the paths under which it is served.
#[derive(Debug)]
pub(crate) struct Resource {
    /// "" for the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) verbs: &'static [&'static str],
    pub(crate) subresources: &'static [Subresource],
    /// Whether `metadata.generation` counts the changes of the specification.
    pub(crate) has_generation: bool,
    /// Whether DELETE answers with the object rather than with a `Status`.
    pub(crate) returns_deleted: bool,
    /// Decodes the object as its Go counterpart would and encodes it again: what the result lacks,
    /// the type doesn't have.
    pub(crate) round_trip: fn(&Value) -> Result<Value, serde_json::Error>,
}

/// A path below an object's own.
#[derive(Debug)]
pub(crate) struct Subresource {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    /// Group and version of the kind, where they aren't the resource's.
    pub(crate) of: Option<(&'static str, &'static str)>,
    pub(crate) verbs: &'static [&'static str],
}

const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const NO_COLLECTION: &[&str] = &[
    "create", "delete", "get", "list", "patch", "update", "watch",
];
const CREATE: &[&str] = &["create"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];

impl Resource {
    /// `v1` or `group/version`.
    pub(crate) fn api_version(&self) -> String {
        group_version(self.group, self.version)
    }

    /// `plural` or `plural.group`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The table's key: two resources differ in it.
    pub(crate) fn id(&self) -> (&'static str, &'static str) {
        (self.group, self.plural)
    }

    /// Whether `status` can only be written through its own path.
    pub(crate) fn has_status(&self) -> bool {
        self.subresources.iter().any(|sub| sub.name == "status")
    }

    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    const fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    const fn subs(mut self, subresources: &'static [Subresource]) -> Self {
        self.subresources = subresources;
        self
    }

    const fn counted(mut self) -> Self {
        self.has_generation = true;
        self
    }

    const fn returned_when_deleted(mut self) -> Self {
        self.returns_deleted = true;
        self
    }
}

/// `v1` or `group/version`.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The resource served under this group, version and plural.
pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|one| one.group == group && one.version == version && one.plural == plural)
}

/// The resource of `apiVersion` and `kind`.
pub(crate) fn of_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|one| one.kind == kind && one.api_version() == api_version)
}

/// A core resource by its plural, which must be in the table.
pub(crate) fn core(plural: &str) -> &'static Resource {
    find("", "v1", plural).expect("the core resources named in the code are in the table")
}

trait Scope {
    const NAMESPACED: bool;
}

impl Scope for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

impl Scope for ClusterResourceScope {
    const NAMESPACED: bool = false;
}

const fn stored<K>() -> Resource
where
    K: k8s_openapi::Resource<Scope: Scope> + Serialize + DeserializeOwned,
{
    Resource {
        group: K::GROUP,
        version: K::VERSION,
        plural: K::URL_PATH_SEGMENT,
        kind: K::KIND,
        namespaced: <K::Scope as Scope>::NAMESPACED,
        short_names: &[],
        verbs: ALL,
        subresources: &[],
        has_generation: false,
        returns_deleted: false,
        round_trip: round_trip::<K>,
    }
}

fn round_trip<K: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde::Deserialize::deserialize(value).map(|it: K| it)?)
}

const fn sub(
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource {
        name,
        kind,
        of: None,
        verbs,
    }
}

/// Everything that is served: groups in the order of `/apis`, resources in alphabetical order.
pub(crate) static RESOURCES: &[Resource] = &[
    stored::<core::ConfigMap>().short(&["cm"]),
    stored::<core::Endpoints>().short(&["ep"]),
    stored::<core::Event>().short(&["ev"]),
    stored::<core::LimitRange>().short(&["limits"]),
    stored::<core::Namespace>()
        .short(&["ns"])
        .verbs(NO_COLLECTION)
        .subs(&[sub("status", "Namespace", READ_WRITE)]),
    stored::<core::Node>()
        .short(&["no"])
        .subs(&[sub("status", "Node", READ_WRITE)]),
    stored::<core::Pod>()
        .short(&["po"])
        .counted()
        .returned_when_deleted()
        .subs(&[
            sub("binding", "Binding", CREATE),
            sub("log", "Pod", &["get"]),
            sub("portforward", "PodPortForwardOptions", &["create", "get"]),
            sub("proxy", "PodProxyOptions", &["create", "get", "update"]),
            sub("status", "Pod", READ_WRITE),
        ]),
    stored::<core::ResourceQuota>()
        .short(&["quota"])
        .subs(&[sub("status", "ResourceQuota", READ_WRITE)]),
    stored::<core::Secret>(),
    stored::<core::ServiceAccount>()
        .short(&["sa"])
        .returned_when_deleted()
        .subs(&[Subresource {
            name: "token",
            kind: "TokenRequest",
            of: Some(("authentication.k8s.io", "v1")),
            verbs: CREATE,
        }]),
    stored::<core::Service>()
        .short(&["svc"])
        .returned_when_deleted()
        .subs(&[sub("status", "Service", READ_WRITE)]),
    stored::<apps::Deployment>()
        .short(&["deploy"])
        .counted()
        .subs(&[sub("status", "Deployment", READ_WRITE)]),
    stored::<apps::ReplicaSet>()
        .short(&["rs"])
        .counted()
        .subs(&[sub("status", "ReplicaSet", READ_WRITE)]),
    stored::<events::Event>().short(&["ev"]),
    stored::<authn::TokenReview>().verbs(CREATE),
    stored::<authz::SelfSubjectAccessReview>().verbs(CREATE),
    stored::<batch::CronJob>()
        .short(&["cj"])
        .counted()
        .subs(&[sub("status", "CronJob", READ_WRITE)]),
    stored::<batch::Job>()
        .counted()
        .subs(&[sub("status", "Job", READ_WRITE)]),
    stored::<networking::NetworkPolicy>()
        .short(&["netpol"])
        .counted(),
    stored::<policy::PodDisruptionBudget>()
        .short(&["pdb"])
        .counted()
        .subs(&[sub("status", "PodDisruptionBudget", READ_WRITE)]),
    stored::<rbac::ClusterRoleBinding>(),
    stored::<rbac::ClusterRole>(),
    stored::<rbac::RoleBinding>(),
    stored::<rbac::Role>(),
    stored::<admission::MutatingWebhookConfiguration>().counted(),
    stored::<coordination::Lease>(),
    stored::<discovery::EndpointSlice>().counted(),
];
