//! One series, and how long it is kept.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::Moment;
use crate::{
    instrument::Instrument,
    snapshot::{Labels, Point},
};

/// For how long a series is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// For as long as somebody holds it, and a while longer.
    WhileHeld,
    /// For as long as something is recorded into it, and a while longer.
    WhileUsed,
}

#[derive(Debug)]
pub(super) struct Series<I> {
    instrument: I,
    kept: Kept,
    since: SystemTime,
    /// The instrument's mark, and since when it has been that.
    mark: u64,
    quiet_since: Moment,
    /// Nobody is shown it, and it has nothing to show: it is as good as gone to all but
    /// those who hold it, and may record into it at any time.
    asleep: bool,
}

/// What has become of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    /// It is as it was.
    Same,
    /// It was shown, and nobody has it any more.
    Gone,
    /// It was shown, and is not any more.
    Asleep,
    /// It was asleep, and nobody has it any more.
    Forgotten,
    /// It was asleep, and something was recorded into it.
    Awake,
}

impl<I: Instrument> Series<I> {
    pub(super) fn new(shape: &I::Shape, kept: Kept) -> Self {
        let instrument = I::new(shape);
        let (now, mark) = (Moment::now(), instrument.mark());
        Self {
            instrument,
            kept,
            since: now.wall,
            mark,
            quiet_since: now,
            asleep: false,
        }
    }

    /// What to record into; is kept for as long as any of those who ask for it want.
    pub(super) fn instrument_for(&mut self, kept: Kept) -> I {
        if kept == Kept::WhileHeld {
            self.kept = kept;
        }
        self.instrument.clone()
    }

    /// Lets go of it if each snapshot of the last while had all that was recorded.
    pub(super) fn settle(&mut self, idle_after: Duration, at: Moment) -> Becomes {
        // In this order: whatever its last holder recorded is in the mark.
        let is_held = self.instrument.holders() > 1;
        let mark = self.instrument.mark();
        if self.asleep {
            return match mark {
                0 if is_held => {
                    self.quiet_since = at;
                    Becomes::Same
                }
                0 => Becomes::Forgotten,
                _ => Becomes::Awake,
            };
        }
        if mark != self.mark {
            self.mark = mark;
            self.quiet_since = at;
            return Becomes::Same;
        }
        let quiet_for = at.steady.duration_since(self.quiet_since.steady);
        if quiet_for < idle_after {
            return Becomes::Same;
        }
        if !is_held {
            return Becomes::Gone;
        }
        if self.kept == Kept::WhileHeld || !self.instrument.empty(mark) {
            return Becomes::Same;
        }
        (self.asleep, self.quiet_since) = (true, at);
        Becomes::Asleep
    }

    /// It begins anew, when it was last seen asleep.
    pub(super) fn wake(&mut self, at: Moment) {
        self.asleep = false;
        self.since = self.quiet_since.wall;
        (self.mark, self.quiet_since) = (self.instrument.mark(), at);
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.asleep
    }

    pub(super) fn point(&self, labels: &Labels) -> Point<I::Value> {
        Point {
            labels: Arc::clone(labels),
            since: self.since,
            value: self.instrument.read(),
        }
    }
}
