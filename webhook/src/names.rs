//! The names and numbers that Netting's parts and its users agree on.

use std::fmt;

/// What every label and annotation of Netting begins with.
pub const DOMAIN: &str = "netting.dev/";
/// On a namespace or a pod: `enabled`, `disabled`, `true` or `false`.
pub const INJECT: &str = "netting.dev/inject";
/// The label that an injected pod carries, always `"true"`.
pub const INJECTED: &str = "netting.dev/injected";
/// The annotation that says what was added to a pod, as compact JSON.
pub const STATUS: &str = "netting.dev/status";
/// Tells `kubectl logs` and `kubectl exec` which container is meant if none is named.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Marks the API server's copy of a static pod, which the kubelet runs from a
/// file: a patch to the copy changes nothing that runs.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";

/// On a namespace: which Pod Security Standard its pods must meet to be admitted.
/// <https://kubernetes.io/docs/concepts/security/pod-security-admission/>
pub const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

/// The init container that installs the redirection.
pub const INIT_CONTAINER: &str = "netting-init";
/// The container of the proxy.
pub const SIDECAR_CONTAINER: &str = "netting-sidecar";
/// The uid and gid of the proxy. Its connections are the ones not redirected.
pub const SIDECAR_UID: i64 = 4150;

/// The volume of the sidecar's own service account token, kept ready for identity.
pub const TOKEN_VOLUME: &str = "netting-token";
/// Where the sidecar has it, as the file `token`.
pub const TOKEN_DIR: &str = "/var/run/secrets/netting";
/// Whom the token will be for. The API server itself refuses a token of this audience.
pub const TOKEN_AUDIENCE: &str = "netting";

/// Where connections from the application are redirected to.
pub const OUTBOUND_PORT: u16 = 15001;
/// Where connections to the application are redirected to.
pub const INBOUND_PORT: u16 = 15006;
/// Where the proxy answers probes and scrapers.
pub const ADMIN_PORT: u16 = 15020;

/// The Deployment and the Service of the webhook, and what its pods are labelled as.
pub const WEBHOOK: &str = "netting-webhook";
/// The same of the catalog.
pub const CATALOG: &str = "netting-catalog";
/// The Secret of the certificate that the webhook serves with.
pub const WEBHOOK_SECRET: &str = "netting-webhook-tls";
/// The name of the `MutatingWebhookConfiguration`.
pub const WEBHOOK_CONFIGURATION: &str = "netting";
/// What the names of the webhooks in it end in.
pub const WEBHOOKS_DOMAIN: &str = ".inject.netting.dev";
/// Where control plane pods of the cluster itself run; they are left alone.
pub const KUBE_SYSTEM: &str = "kube-system";

/// Where sidecars find the catalog, if Netting is in this namespace.
#[must_use]
pub fn catalog_in(namespace: &str) -> String {
    format!("{CATALOG}.{namespace}.svc:15010")
}

/// How the sidecar runs beside the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SidecarMode {
    /// An init container with `restartPolicy: Always`: started before the
    /// application and its init containers, stopped after them (Kubernetes 1.29).
    #[default]
    Native,
    /// A container beside the application's, for clusters without native sidecars.
    Classic,
}

impl SidecarMode {
    /// As written in annotations, flags and the pod's status annotation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Classic => "classic",
        }
    }

    /// The mode of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Native, Self::Classic]
            .into_iter()
            .find(|mode| mode.as_str() == name)
    }
}

impl fmt::Display for SidecarMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
