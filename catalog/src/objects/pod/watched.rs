//! A Pod as the API server sends it, as far as it is looked at. The rest of a pod, most
//! of it, is never kept; and fields are read here that the API's types have only in
//! versions of Kubernetes newer than the oldest that is supported.

use std::borrow::Cow;

use k8s_openapi::{
    NamespaceResourceScope, api::core::v1 as api, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use serde::Deserialize;

/// A Pod of the core API, version 1.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Watched {
    /// Names, labels and age.
    pub metadata: ObjectMeta,
    /// What was asked for.
    pub spec: Option<Spec>,
    /// What became of it.
    pub status: Option<api::PodStatus>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Whether it lives in its node's network namespace.
    pub host_network: Option<bool>,
    /// Its identity.
    pub service_account_name: Option<String>,
    /// Its node, once it is scheduled.
    pub node_name: Option<String>,
    /// What becomes of containers that end, where they don't say so themselves.
    pub restart_policy: Option<String>,
    /// Those that come first, native sidecars among them.
    pub init_containers: Option<Vec<Container>>,
    /// The regular ones.
    pub containers: Option<Vec<Container>>,
}

/// A container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name, unique in the pod.
    pub name: String,
    /// What becomes of it when it ends, instead of what the pod says (Kubernetes 1.34).
    pub restart_policy: Option<String>,
    /// Exceptions to that, the first of which to match decides.
    pub restart_policy_rules: Option<Vec<RestartRule>>,
}

/// `ContainerRestartRule`: whatever its action, the container starts again. (`Restart`
/// starts it alone, `RestartAllContainers` all of the pod's.)
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartRule {
    /// When; never, if it doesn't say.
    pub exit_codes: Option<ExitCodes>,
}

/// A set of exit codes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExitCodes {
    /// `In` or `NotIn`.
    pub operator: String,
    /// The codes.
    pub values: Option<Vec<i32>>,
}

impl RestartRule {
    /// Whether a container that ended with this code starts again by it.
    #[must_use]
    pub fn matches(&self, exit_code: i32) -> bool {
        let Some(codes) = &self.exit_codes else {
            return false;
        };
        let listed = codes
            .values
            .as_deref()
            .unwrap_or_default()
            .contains(&exit_code);
        match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    }
}

impl Resource for Watched {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
