//! What is known of a connection before it is made.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;

use crate::{queries::Instance, sidecar::Config};

/// The sidecar's own names for why it passes a connection through or refuses it.
pub mod reasons {
    /// Nobody that the catalog knows has the address.
    pub const UNKNOWN_ADDRESS: &str = "unknown_address";
    /// There is no stream to the catalog.
    pub const CATALOG_UNAVAILABLE: &str = "catalog_unavailable";
    /// The catalog has not answered yet.
    pub const CATALOG_SILENT: &str = "catalog_silent";
    /// No endpoint may be used.
    pub const NO_ENDPOINTS: &str = "no_endpoints";
    /// The pod's own address.
    pub const OWN_ADDRESS: &str = "own_address";
    /// A port of the sidecar itself.
    pub const OWN_PORT: &str = "own_port";
}

/// What has an address, as the API server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A service, at one of its ports.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The name of that port, empty for one without; `None` if it has no such port.
        port: Option<String>,
        /// Whether connections to it stay on their node.
        node_local: bool,
    },
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Whether it has a sidecar.
        meshed: bool,
    },
    /// Nothing that is known.
    Nobody,
}

/// What is known of the connection.
#[derive(Debug)]
pub struct Known<'a> {
    /// Who connects.
    pub pod: &'a Pod,
    /// Why that pod has no sidecar; `None` if it has one.
    pub not_injected: Option<&'a str>,
    /// Where to.
    pub target: SocketAddr,
    /// The same as it was asked.
    pub asked_as: &'a str,
    /// How many addresses DNS has for what was asked, of which the target is one.
    pub of_addresses: usize,
    /// What has that address.
    pub owner: &'a Owner,
    /// What the pod's sidecar holds.
    pub config: Result<&'a Config, &'a str>,
    /// The endpoints that the catalog knows, if a service has the address.
    pub catalog: Option<&'a [Instance]>,
}
