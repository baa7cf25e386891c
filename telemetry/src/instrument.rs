//! What is recorded into: atomics behind an `Arc`, to which any number of threads add
//! without waiting for each other.
//!
//! Who holds one records into it for a few nanoseconds.

use std::fmt;

use crate::snapshot::{Data, Point};

mod counter;
mod exemplars;
mod exponential;
mod gauge;
mod histogram;

pub use counter::Counter;
pub use exemplars::TraceContext;
pub use gauge::{Gauge, OneMore};
pub(crate) use histogram::nanoseconds;
pub use histogram::{Buckets, Histogram, Unit};

/// One series' worth of an instrument, as the registry keeps it.
pub trait Instrument: Clone + fmt::Debug + Send + Sync + 'static {
    /// What its series have in common.
    type Shape: fmt::Debug + Send + Sync;
    /// What a snapshot has of it.
    type Value;

    /// A series that nothing was recorded into.
    fn new(shape: &Self::Shape) -> Self;

    /// What it has come to.
    fn read(&self) -> Self::Value;

    /// A number that is another one after anything was recorded, and 0 while nothing was.
    fn mark(&self) -> u64;

    /// Makes it one that nothing was recorded into, unless its mark is another one, or what
    /// it says holds on though nothing is recorded. Whether that was done.
    fn empty(&self, mark: u64) -> bool;

    /// Counts with `other` what was counted so far, if that is possible. What is recorded
    /// meanwhile is in one of both.
    fn move_to(&self, other: &Self);

    /// How many hold it, the registry among them. Who reads 1 sees all that was
    /// recorded.
    fn holders(&self) -> usize;

    /// A metric's series.
    fn data(points: Vec<Point<Self::Value>>) -> Data;
}
