//! Series that differ in one label, whose values the program knows.

use std::sync::Arc;

use crate::{
    cache::{Cache, Source},
    instrument::Instrument,
    labels,
    registry::{Family, Room},
    snapshot::Labels,
};

/// The series of a metric by one label, such as a reason. Cheap to clone.
#[derive(Debug)]
pub struct ByLabel<I: Instrument>(Arc<Inner<I>>);

#[derive(Debug)]
struct Inner<I: Instrument> {
    family: Family<I>,
    base: Labels,
    key: &'static str,
    found: Cache<&'static str, I>,
}

impl<I: Instrument> Clone for ByLabel<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Instrument> ByLabel<I> {
    /// Series with `base`'s labels, and one that `key` names.
    #[must_use]
    pub fn new(family: Family<I>, base: &Labels, key: &'static str) -> Self {
        Self(Arc::new(Inner {
            family,
            base: Arc::clone(base),
            key,
            found: Cache::default(),
        }))
    }

    /// The series with this value.
    #[must_use]
    pub fn of(&self, value: &'static str) -> &I {
        self.0.found.get(value, value.len(), &*self.0)
    }
}

impl<I: Instrument> Source<&'static str, I> for Inner<I> {
    fn room(&self) -> &Room {
        self.family.room()
    }

    fn find(&self, value: &'static str) -> Option<I> {
        let labels = labels::with(&self.base, &[(self.key, value)]);
        self.family.find(&labels)
    }

    fn overflow(&self) -> I {
        self.family.overflow()
    }
}
