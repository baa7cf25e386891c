//! When each service last changed, for those who wait for the next change.

use std::collections::HashMap;

use crate::{
    index::{Changes, Index},
    objects::Key,
};

/// Versions of the index. They only grow, and follow the clock: replicas, which
/// share nothing, stay close to each other, so that a version from one of them is
/// of use at another.
#[derive(Debug, Default)]
pub struct Modified {
    version: u64,
    by_service: HashMap<Key, u64>,
    gone: u64,
    listing: u64,
}

impl Modified {
    /// The version in which a service last changed, or what is behind it.
    #[must_use]
    pub fn of(&self, service: &Key) -> Option<u64> {
        self.by_service.get(service).copied()
    }

    /// The version in which a service was last deleted.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.gone
    }

    /// The version in which a service last came, went, or changed itself.
    #[must_use]
    pub fn listing(&self) -> u64 {
        self.listing
    }

    /// The next version, in which these changed. In milliseconds, if there is
    /// not more than one change in each.
    pub(super) fn advance(&mut self, changed_at_us: i64, changes: &Changes, index: &Index) -> u64 {
        let clock = u64::try_from(changed_at_us / 1000).unwrap_or_default();
        self.version = clock.max(self.version + 1);
        if changes.listing {
            self.listing = self.version;
        }
        for service in &changes.services {
            if index.service(service).is_some() {
                self.by_service.insert(service.clone(), self.version);
            } else if self.by_service.remove(service).is_some() {
                self.gone = self.version;
            }
        }
        self.version
    }
}
