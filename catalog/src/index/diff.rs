//! What differs between two states of one address.

use std::{cmp::Ordering, net::SocketAddr};

use super::state::{Endpoint, Hash, State};

/// Leads from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// The state that it starts from.
    pub base: Hash,
    /// Whether the destination is another one.
    pub destination: bool,
    /// Endpoints that are new, or that changed in anything but their address.
    pub upserted: Vec<Endpoint>,
    /// Addresses of endpoints that are gone.
    pub removed: Vec<SocketAddr>,
}

/// An endpoint on the wire is about so many times as long as an address.
const ENDPOINT_TO_ADDRESS: usize = 8;

impl Diff {
    /// What leads from `old` to `new`.
    #[must_use]
    pub fn between(old: &State, new: &State) -> Self {
        let mut diff = Self {
            base: old.hash,
            destination: old.destination != new.destination,
            upserted: Vec::new(),
            removed: Vec::new(),
        };
        let (mut before, mut after) = (old.endpoints.iter(), new.endpoints.iter());
        let (mut was, mut is) = (before.next(), after.next());
        // Both are ordered by address.
        loop {
            let order = match (was, is) {
                (None, None) => return diff,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(was), Some(is)) => was.addr.cmp(&is.addr),
            };
            if order.is_lt() {
                diff.removed.extend(was.map(|endpoint| endpoint.addr));
            } else if was != is {
                diff.upserted.extend(is.cloned());
            }
            if order.is_le() {
                was = before.next();
            }
            if order.is_ge() {
                is = after.next();
            }
        }
    }

    /// Whether sending it takes less than sending all of `new`.
    #[must_use]
    pub fn is_smaller_than(&self, new: &State) -> bool {
        let size = self.upserted.len() * ENDPOINT_TO_ADDRESS + self.removed.len();
        size < new.endpoints.len() * ENDPOINT_TO_ADDRESS
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        index::state::{Destination, Kind},
        test_cluster::addr,
    };

    fn state(endpoints: &[(&str, bool)]) -> State {
        let destination = Destination {
            kind: Kind::Service,
            namespace: "shop".into(),
            name: "cart".into(),
            port_name: "http".into(),
            protocol_hint: "http".into(),
            node_local: false,
            traffic: Arc::default(),
        };
        let endpoints = endpoints.iter().map(|(address, ready)| Endpoint {
            addr: addr(address),
            ready: *ready,
            serving: true,
            terminating: false,
            weight: 1,
            node: Arc::default(),
            zone: Arc::default(),
            hints: None,
            workload: None,
        });
        State::new(destination, endpoints.collect())
    }

    #[test]
    fn equal_states_have_equal_hashes_and_no_difference() {
        let one = state(&[("10.0.0.1:80", true), ("10.0.0.2:80", true)]);
        let other = state(&[("10.0.0.2:80", true), ("10.0.0.1:80", true)]);
        assert_eq!(one.hash, other.hash);
        let diff = Diff::between(&one, &other);
        assert_eq!((diff.upserted.len(), diff.removed.len()), (0, 0));
        assert!(!diff.destination);
    }

    #[test]
    fn names_what_is_new_changed_and_gone() {
        let old = state(&[
            ("10.0.0.1:80", true),
            ("10.0.0.2:80", true),
            ("10.0.0.4:80", true),
        ]);
        let new = state(&[
            ("10.0.0.2:80", false),
            ("10.0.0.3:80", true),
            ("10.0.0.4:80", true),
            ("10.0.0.5:80", true),
        ]);
        let diff = Diff::between(&old, &new);
        let upserted: Vec<_> = diff.upserted.iter().map(|e| e.addr).collect();
        assert_eq!(
            upserted,
            ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.5:80"].map(addr)
        );
        assert_eq!(diff.removed, [addr("10.0.0.1:80")]);
        assert_eq!(diff.base, old.hash);
        assert_ne!(old.hash, new.hash);
    }

    #[test]
    fn losing_all_endpoints_is_told_by_an_empty_snapshot() {
        let (one, none) = (state(&[("10.0.0.1:80", true)]), state(&[]));
        assert!(!Diff::between(&one, &none).is_smaller_than(&none));
        assert!(!Diff::between(&none, &one).is_smaller_than(&one));
        let two = state(&[("10.0.0.1:80", true), ("10.0.0.2:80", true)]);
        assert!(Diff::between(&two, &one).is_smaller_than(&one));
    }
}
