//! How a pod is injected: the webhook's own configuration, and what annotations of
//! the namespace and of the pod change about it, parsed once into types that can't
//! be wrong.

use std::{borrow::Cow, net::SocketAddr};

use crate::pod::Pod;

mod annotations;
mod bounds;
mod cidr;
mod defaults;
mod drain;
mod lists;
mod log_filter;
mod pod_options;
mod pod_security;
mod ports;
mod quantity;
pub mod reference;
mod resources;
mod telemetry;
#[cfg(test)]
mod tests;

pub use annotations::{Given, Namespace, Source};
pub use bounds::{Bound, Bounds, BoundsOf, Total};
pub use cidr::{Cidr, NotACidr};
pub use defaults::{Defaults, LimitBelowRequest};
pub(crate) use drain::written as written_duration;
pub use log_filter::{LogFilter, NotALogFilter};
pub use netting_telemetry::access_log::Asked as AccessLog;
pub use pod_options::PodOptions;
pub use pod_security::{PodSecurity, Standard};
pub use ports::{NotAPort, PortRange};
pub use quantity::{NotAQuantity, Quantity};
pub(crate) use resources::MEMORY_LIMIT_MIN;
pub use resources::{BadAmount, Budget};
pub use telemetry::{BadExporters, Exporters};

/// What is the same for every pod, and the defaults of what is not.
#[derive(Clone, Debug)]
pub struct Options {
    /// The image of both containers.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; `None` leaves it to the API server,
    /// which decides by the image's tag.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Where the sidecar finds the catalog, `host:port`.
    pub catalog: String,
    /// The same by its IP address, for pods that don't ask the cluster's DNS.
    pub catalog_address: Option<SocketAddr>,
    /// Where Netting's own pods run, which are never injected.
    pub system_namespace: String,
    /// Whether the cluster has native sidecars (Kubernetes 1.29 and later). Without
    /// them every sidecar is a classic one, whatever else says otherwise.
    pub native_sidecars: bool,
    /// How the API server enforces Pod Security.
    pub pod_security: PodSecurity,
    /// What a pod gets where neither it nor its namespace chooses.
    pub pod_defaults: PodOptions,
}

impl Options {
    /// Where a pod's sidecar finds the catalog.
    #[must_use]
    pub fn catalog_for(&self, pod: &Pod<'_>) -> Cow<'_, str> {
        match self.catalog_address {
            Some(address) if !pod.uses_cluster_dns() => address.to_string().into(),
            _ => self.catalog.as_str().into(),
        }
    }

    /// Whether that may be a name that the pod can't resolve.
    #[must_use]
    pub fn catalog_may_be_out_of_reach(&self, pod: &Pod<'_>) -> bool {
        let by_name = self.catalog.parse::<SocketAddr>().is_err();
        by_name && self.catalog_address.is_none() && !pod.uses_cluster_dns()
    }
}

/// When the kubelet pulls the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// If the node doesn't have it.
    IfNotPresent,
    /// Never; the node must have it.
    Never,
}

impl ImagePullPolicy {
    /// Kubernetes' name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}
