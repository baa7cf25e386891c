//! When each service last changed, for those who wait for the next change.

use std::collections::HashMap;

use crate::{index::Index, objects::Key};

/// Versions of the index. They only grow, and follow the clock: replicas, which
/// share nothing, stay close to each other, so that a version from one of them is
/// of use at another.
#[derive(Debug, Default)]
pub struct Modified {
    version: u64,
    by_service: HashMap<Key, u64>,
    gone: u64,
}

impl Modified {
    /// The version of the index as a whole; 0 before its first change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

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

    /// The next version, in which `services` changed. In milliseconds, if there is
    /// not more than one change in each.
    pub(super) fn advance<'a>(
        &mut self,
        changed_at_us: i64,
        services: impl Iterator<Item = &'a Key>,
        index: &Index,
    ) -> u64 {
        let clock = u64::try_from(changed_at_us / 1000).unwrap_or_default();
        self.version = clock.max(self.version + 1);
        for service in services {
            if index.service(service).is_some() {
                self.by_service.insert(service.clone(), self.version);
            } else if self.by_service.remove(service).is_some() {
                self.gone = self.version;
            }
        }
        self.version
    }
}
