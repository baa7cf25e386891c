//! How many series there are, of how many that may be.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    taken: AtomicUsize,
    overflowed: AtomicU64,
}

impl Room {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            taken: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    /// Takes room for one series, if there is any left.
    pub(super) fn take(&self) -> bool {
        let one_more = |taken: usize| (taken < self.max).then_some(taken + 1);
        let took = self.taken.fetch_update(Relaxed, Relaxed, one_more).is_ok();
        if !took {
            self.overflowed.fetch_add(1, Relaxed);
        }
        took
    }

    pub(super) fn give_back(&self, series: usize) {
        self.taken.fetch_sub(series, Relaxed);
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }
}
