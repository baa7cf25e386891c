//! When each service last changed, for those who wait for the next change.

use std::{collections::HashMap, sync::Arc};

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
    /// Of the services of a name, in whichever namespace: how many, and the version in
    /// which one of them last changed. Each waiting query asks for it with each change.
    by_name: HashMap<Arc<str>, (usize, u64)>,
    gone: u64,
    listing: u64,
}

impl Modified {
    /// The version in which a service last changed, or what is behind it.
    #[must_use]
    pub fn of(&self, service: &Key) -> Option<u64> {
        self.by_service.get(service).copied()
    }

    /// The version in which a service of this name last changed, in any namespace, or
    /// what is behind it.
    #[must_use]
    pub fn of_name(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).map(|(_, version)| *version)
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
                let before = self.by_service.insert(service.clone(), self.version);
                self.changed(&service.name, before.is_none());
            } else if self.by_service.remove(service).is_some() {
                self.gone = self.version;
                self.forget(&service.name);
            }
        }
        self.version
    }

    fn changed(&mut self, name: &Arc<str>, is_new: bool) {
        let (count, version) = self.by_name.entry(name.clone()).or_default();
        *count += usize::from(is_new);
        *version = self.version;
    }

    fn forget(&mut self, name: &str) {
        if let Some((count, _)) = self.by_name.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.by_name.remove(name);
            }
        }
    }
}
