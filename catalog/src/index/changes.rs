//! What a change to the index may have changed.

use std::{collections::BTreeSet, net::IpAddr};

use crate::objects::Key;

/// Whose state may be another one now. It may name too much, never too little.
///
/// Original addresses are named by their IP alone: a service's ports change
/// together, and a meshed pod is known at every port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The IPs, of services and of pods.
    pub ips: BTreeSet<IpAddr>,
    /// The services, with or without a cluster IP.
    pub services: BTreeSet<Key>,
    /// Pods whose application has ended, for their sidecars to hear of it.
    pub ended: BTreeSet<Key>,
    /// Whether a service came, went, or is itself another one.
    pub listing: bool,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.services.is_empty() && self.ended.is_empty()
    }

    pub(super) fn merge(&mut self, other: Changes) {
        self.ips.extend(other.ips);
        self.services.extend(other.services);
        self.ended.extend(other.ended);
        self.listing |= other.listing;
    }
}
