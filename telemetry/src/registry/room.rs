//! How many series there are, of how many that may be.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The room for series. Those that are asleep, which nobody is shown, have as much again:
/// who holds them may wake them at any time.
#[derive(Debug, Default)]
pub(crate) struct Room {
    max: usize,
    taken: AtomicUsize,
    asleep: AtomicUsize,
    overflowed: AtomicU64,
    made: AtomicU64,
}

impl Room {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// Takes room for one series, if there is any left.
    pub(super) fn take(&self) -> bool {
        let asleep = self.asleep.load(Relaxed);
        let kept_max = self.max.saturating_mul(2);
        let max = self.max.min(kept_max.saturating_sub(asleep));
        let one_more = |taken: usize| (taken < max).then_some(taken + 1);
        let took = self.taken.fetch_update(Relaxed, Relaxed, one_more).is_ok();
        if !took {
            self.overflowed.fetch_add(1, Relaxed);
        }
        took
    }

    /// The same for one that was asleep.
    pub(super) fn wake(&self) -> bool {
        self.asleep.fetch_sub(1, Relaxed);
        let took = self.take();
        if !took {
            self.asleep.fetch_add(1, Relaxed);
        }
        took
    }

    /// Series fell asleep, and make room for others.
    pub(super) fn lull(&self, series: usize) {
        self.asleep.fetch_add(series, Relaxed);
        self.give_back(series);
    }

    /// Series went, and make room for others.
    pub(crate) fn give_back(&self, series: usize) {
        self.taken.fetch_sub(series, Relaxed);
        self.made.fetch_add(1, Relaxed);
    }

    /// Series went that were asleep.
    pub(super) fn forget(&self, series: usize) {
        self.asleep.fetch_sub(series, Relaxed);
        self.made.fetch_add(1, Relaxed);
    }

    /// A number that is another one after room was made, and never 0.
    pub(crate) fn generation(&self) -> u64 {
        self.made.load(Relaxed) + 1
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }
}
