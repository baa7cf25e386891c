//! What goes up and down.

use std::sync::{
    Arc,
    atomic::{
        AtomicI64,
        Ordering::{Acquire, Relaxed},
        fence,
    },
};

use super::Instrument;
use crate::snapshot::{Data, Point};

/// A series that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

/// One more of what a gauge counts, until this is dropped.
#[derive(Debug)]
pub struct OneMore(Gauge);

impl Gauge {
    /// One more.
    pub fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn dec(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// So many more; less, where that is negative.
    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// So much.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// One more until what is returned is dropped, however that comes about.
    #[must_use]
    pub fn one_more(&self) -> OneMore {
        self.inc();
        OneMore(self.clone())
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Instrument for Gauge {
    type Shape = ();
    type Value = f64;

    fn new((): &()) -> Self {
        Self::default()
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "what is counted here is below 2^53"
    )]
    fn read(&self) -> f64 {
        self.get() as f64
    }

    fn mark(&self) -> u64 {
        self.get().cast_unsigned()
    }

    fn empty(&self, mark: u64) -> bool {
        mark == 0
    }

    /// What goes up and comes down again does so in one place.
    fn move_to(&self, _: &Self) {}

    fn holders(&self) -> usize {
        let holders = Arc::strong_count(&self.0);
        fence(Acquire);
        holders
    }

    fn data(points: Vec<Point<f64>>) -> Data {
        Data::Gauge(points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_held_only() {
        let gauge = Gauge::default();
        let held = gauge.one_more();
        assert_eq!(gauge.get(), 1);
        drop(held);
        assert_eq!(gauge.get(), 0);
    }
}
