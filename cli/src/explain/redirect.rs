//! What of a pod's connections its rules leave alone, as its own containers say: the
//! rules are what netting-init was told when the pod was created, whatever its
//! annotations say now.

use std::{net::SocketAddr, str::FromStr};

use k8s_openapi::api::core::v1::{Container, Pod};
use netting_webhook::{
    names::{INIT_CONTAINER, SIDECAR_CONTAINER},
    options::{Cidr, PortRange},
};

/// What is not redirected, or not looked into.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Redirect {
    pub(super) skip_outbound_ports: Vec<PortRange>,
    pub(super) skip_outbound_cidrs: Vec<Cidr>,
    pub(super) skip_inbound_ports: Vec<PortRange>,
    pub(super) opaque_ports: Vec<PortRange>,
}

impl Redirect {
    pub(super) fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let inits = spec.and_then(|spec| spec.init_containers.as_ref());
        let all = inits
            .into_iter()
            .flatten()
            .chain(spec.iter().flat_map(|spec| &spec.containers));
        let all: Vec<&Container> = all.collect();
        let named = |name: &str| all.iter().find(|one| one.name == name).copied();
        let (init, sidecar) = (named(INIT_CONTAINER), named(SIDECAR_CONTAINER));
        Self {
            skip_outbound_ports: list(init, "skip-outbound-ports"),
            skip_outbound_cidrs: list(init, "skip-outbound-cidrs"),
            skip_inbound_ports: list(init, "skip-inbound-ports"),
            opaque_ports: list(sidecar, "opaque-ports"),
        }
    }

    /// Why a connection to there never gets to the sidecar: a named reason, and words.
    pub(super) fn skips(&self, target: SocketAddr) -> Option<(&'static str, String)> {
        if target.ip().is_loopback() {
            return Some(("loopback", "loopback is never redirected".to_owned()));
        }
        let cidr = self
            .skip_outbound_cidrs
            .iter()
            .find(|one| one.contains(target.ip()));
        if let Some(cidr) = cidr {
            return Some(("skipped_cidr", format!("{cidr} is in skip-outbound-cidrs")));
        }
        let port = self
            .skip_outbound_ports
            .iter()
            .find(|one| one.contains(target.port()));
        port.map(|port| ("skipped_port", format!("{port} is in skip-outbound-ports")))
    }

    pub(super) fn is_opaque(&self, port: u16) -> bool {
        self.opaque_ports.iter().any(|one| one.contains(port))
    }
}

/// A list that a container was given, as a flag or as a variable. What is wrong in it
/// would have kept the container from starting.
fn list<T: FromStr>(container: Option<&Container>, flag: &str) -> Vec<T> {
    let prefix = format!("--{flag}=");
    let variable = format!("NETTING_{}", flag.to_uppercase().replace('-', "_"));
    let args = container
        .and_then(|one| one.args.as_ref())
        .into_iter()
        .flatten();
    let env = container
        .and_then(|one| one.env.as_ref())
        .into_iter()
        .flatten();
    let mut given = args.filter_map(|arg| arg.strip_prefix(&prefix));
    let mut set = env
        .filter(|one| one.name == variable)
        .filter_map(|one| one.value.as_deref());
    let text = given.next().or_else(|| set.next()).unwrap_or_default();
    text.split(',')
        .filter_map(|item| item.trim().parse().ok())
        .collect()
}
