//! One copy of each string that many objects share: nodes, zones, namespaces,
//! names of ports and services.

use std::{collections::HashSet, sync::Arc};

use crate::objects::{Group, Key};

/// Sweeping is worth it once this many names came in since the last time.
const SWEEP_MIN: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Names {
    shared: HashSet<Arc<str>>,
    swept_to: usize,
}

impl Names {
    /// Makes `name` the shared copy.
    pub(super) fn intern(&mut self, name: &mut Arc<str>) {
        if let Some(shared) = self.shared.get(name) {
            *name = Arc::clone(shared);
            return;
        }
        if self.shared.len() > 2 * self.swept_to + SWEEP_MIN {
            self.sweep();
        }
        self.shared.insert(Arc::clone(name));
    }

    pub(super) fn intern_key(&mut self, key: &mut Key) {
        self.intern(&mut key.namespace);
        self.intern(&mut key.name);
    }

    pub(super) fn intern_group(&mut self, group: &mut Group) {
        for port in &mut group.ports {
            self.intern(&mut port.name);
            self.intern(&mut port.protocol_hint);
        }
        for member in &mut group.members {
            self.intern(&mut member.node);
            self.intern(&mut member.zone);
            if let Some(pod) = &mut member.pod {
                self.intern(&mut pod.namespace);
            }
            if let Some(hints) = member.hints.as_mut().and_then(Arc::get_mut) {
                let names = hints.zones.iter_mut().chain(&mut hints.nodes);
                names.for_each(|name| self.intern(name));
            }
        }
    }

    /// Forgets the names that nothing uses any more.
    pub(super) fn sweep(&mut self) {
        self.shared.retain(|name| Arc::strong_count(name) > 1);
        self.swept_to = self.shared.len();
    }
}
