//! The zone of each node, as far as a slice or a pod says it. Nodes don't move.

use std::{collections::HashMap, sync::Arc};

/// Forgetting is worth it once this many nodes came in since the last time.
const FORGET_MIN: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Zones {
    by_node: HashMap<Arc<str>, Arc<str>>,
    left_over: usize,
}

impl Zones {
    pub(super) fn note(&mut self, node: &Arc<str>, zone: &Arc<str>) {
        if !node.is_empty() && !zone.is_empty() && self.by_node.get(node) != Some(zone) {
            self.by_node.insert(Arc::clone(node), Arc::clone(zone));
        }
    }

    pub(super) fn of(&self, node: &str) -> Option<&Arc<str>> {
        self.by_node.get(node)
    }

    /// Whether there are so many that most of them are likely to be gone: a cluster that
    /// scales by nodes has ever new ones.
    pub(super) fn are_too_many(&self) -> bool {
        self.by_node.len() > 2 * self.left_over + FORGET_MIN
    }

    /// Forgets all nodes but these, with their zones.
    pub(super) fn reset<'z>(&mut self, all: impl Iterator<Item = (&'z Arc<str>, &'z Arc<str>)>) {
        self.by_node.clear();
        for (node, zone) in all {
            self.note(node, zone);
        }
        self.left_over = self.by_node.len();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }
}
