//! Whether the process should be sent work: named conditions, all of which must hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The process's readiness. Cheap to clone; ready while it has no condition that
/// does not hold.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

/// One condition of readiness. It holds until told otherwise from [`Condition::set`].
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Readiness without conditions: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that does not hold yet. The name is what `/ready` says.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            name,
            readiness: self.clone(),
        };
        condition.set(false);
        condition
    }

    /// The conditions that do not hold, by name. Empty means ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let conditions = self.lock();
        let missing = conditions.iter().filter(|(_, holds)| !**holds);
        missing.map(|(name, _)| *name).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, bool>> {
        // A map of flags is never half-written, so a panic elsewhere spoils nothing.
        self.conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// Says whether the condition holds from now on.
    pub fn set(&self, holds: bool) {
        self.readiness.lock().insert(self.name, holds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_once_every_condition_holds() {
        let readiness = Readiness::new();
        assert!(readiness.missing().is_empty());
        let listening = readiness.condition("listening");
        let synced = readiness.condition("synced");
        assert_eq!(readiness.missing(), ["listening", "synced"]);
        listening.set(true);
        assert_eq!(readiness.missing(), ["synced"]);
        synced.set(true);
        assert!(readiness.missing().is_empty());
        listening.set(false);
        assert_eq!(readiness.missing(), ["listening"]);
    }
}
