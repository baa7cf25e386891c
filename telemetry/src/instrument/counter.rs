//! What only grows.

use std::sync::{
    Arc,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed},
        fence,
    },
};

use super::Instrument;
use crate::snapshot::{Data, Point};

/// A series that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Counts so many.
    pub fn inc_by(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Instrument for Counter {
    type Shape = ();
    type Value = u64;

    fn new((): &()) -> Self {
        Self::default()
    }

    fn read(&self) -> u64 {
        self.get()
    }

    fn mark(&self) -> u64 {
        self.get()
    }

    fn empty(&self, mark: u64) -> bool {
        let emptied = self.0.compare_exchange(mark, 0, Relaxed, Relaxed);
        emptied.is_ok()
    }

    fn move_to(&self, other: &Self) {
        other.inc_by(self.0.swap(0, Relaxed));
    }

    fn holders(&self) -> usize {
        let holders = Arc::strong_count(&self.0);
        fence(Acquire);
        holders
    }

    fn data(points: Vec<Point<u64>>) -> Data {
        Data::Counter(points)
    }
}
