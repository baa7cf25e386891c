//! One series that comes and goes with traffic.

use crate::{
    cache::{Slot, Source},
    instrument::Instrument,
    registry::{Family, Room},
    snapshot::Labels,
};

/// A series that is looked up when something is recorded into it for the first time, and
/// found again without a lock.
#[derive(Debug)]
pub(crate) struct Single<I: Instrument> {
    series: OfFamily<I>,
    found: Slot<I>,
}

#[derive(Debug)]
struct OfFamily<I: Instrument> {
    family: Family<I>,
    labels: Labels,
}

impl<I: Instrument> Single<I> {
    pub(crate) fn new(family: Family<I>, labels: Labels) -> Self {
        Self {
            series: OfFamily { family, labels },
            found: Slot::default(),
        }
    }

    pub(crate) fn get(&self) -> &I {
        self.found.get(&self.series)
    }
}

impl<I: Instrument> Source<(), I> for OfFamily<I> {
    fn room(&self) -> &Room {
        self.family.room()
    }

    fn find(&self, (): ()) -> Option<I> {
        self.family.find(&self.labels)
    }

    fn overflow(&self) -> I {
        self.family.overflow()
    }
}
