//! When something was seen.

use std::time::{Instant, SystemTime};

/// A moment, by the clock that people read and by one that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// For what backends are told.
    pub(crate) wall: SystemTime,
    /// For how long something takes.
    pub(crate) steady: Instant,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }
}
