//! Which of two endpoints is less loaded.
//!
//! The measure is Finagle's peak EWMA (`com.twitter.finagle.loadbalancer.p2c`): how
//! long an endpoint takes, times what it is busy with, the one to come included. An
//! endpoint that takes longer than was expected counts as that slow at once, and as
//! faster again only bit by bit. What was measured a while ago counts no more: then
//! an endpoint is compared by what it is busy with alone, so that a new or restarted
//! one is neither flooded (it gets one, then waits for its answer) nor starved.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// After this long, an old measurement weighs 1/e beside a new one.
const DECAY: Duration = Duration::from_secs(10);
/// How long an estimate counts after its last measurement. An endpoint that is
/// avoided for being slow is tried again after this.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Endpoints that differ by less than this factor count as equally fast. One that
/// happened to get two requests at once has a peak of twice its time; without this,
/// equal endpoints would take turns in being shunned for seconds.
const ALIKE: f64 = 2.0;
/// Connects below this count as equally fast: within a cluster the differences are
/// noise, and would put connections that last on few endpoints.
const CONNECT_FLOOR_SECONDS: f32 = 0.005;

/// What an endpoint is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A connection, to be relayed. Its estimate is the time that connects take.
    Connection,
    /// A request. Its estimate is the time until the response's head.
    Request,
}

/// How loaded one endpoint is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// How long it takes, in seconds; `None` if that is not known, or not any more.
    pub seconds: Option<f32>,
    /// Requests and connections that it is busy with.
    pub pending: usize,
    /// Its share relative to the others, at least 1.
    pub weight: u32,
}

impl Load {
    /// How many times as loaded as `other` this one would be with one more.
    #[must_use]
    pub fn relative_to(&self, other: &Load, unit: Unit) -> f64 {
        let busy = |load: &Load| (load.pending as f64 + 1.0) / f64::from(load.weight);
        self.slowness_relative_to(other, unit) * busy(self) / busy(other)
    }

    /// How many times as slow as `other` this one is; 1 unless both are known and
    /// differ by enough.
    #[must_use]
    pub fn slowness_relative_to(&self, other: &Load, unit: Unit) -> f64 {
        let floor = match unit {
            Unit::Connection => CONNECT_FLOOR_SECONDS,
            Unit::Request => f32::MIN_POSITIVE,
        };
        let (Some(own), Some(others)) = (self.seconds, other.seconds) else {
            return 1.0;
        };
        let times = f64::from(own.max(floor)) / f64::from(others.max(floor));
        if (1.0 / ALIKE..=ALIKE).contains(&times) {
            1.0
        } else {
            times
        }
    }
}

/// A peak EWMA that threads share without a lock.
///
/// The estimate (an `f32`, in seconds) and the time of its last measurement (in
/// milliseconds since some instant, wrapping after 49 days) are one word, so that
/// neither is ever seen without the other. Zero stands for nothing measured.
#[derive(Debug, Default)]
pub struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// Takes a measurement in. `at` is the time since an instant that is the same
    /// in each call.
    pub fn observe(&self, took: Duration, at: Duration) {
        self.update(at, |before, since| {
            // Zero is taken.
            let took = took.as_secs_f32().max(f32::MIN_POSITIVE);
            Some(match before {
                Some(before) if took < before => {
                    let kept = (-since.as_secs_f32() / DECAY.as_secs_f32()).exp();
                    before * kept + took * (1.0 - kept)
                }
                _ => took,
            })
        });
    }

    /// Takes in that something has lasted so long and not ended by itself: it may
    /// only make the endpoint look slower.
    pub fn observe_at_least(&self, lasted: Duration, at: Duration) {
        let lasted = lasted.as_secs_f32();
        self.update(at, |before, _| {
            before.filter(|before| *before < lasted).and(Some(lasted))
        });
    }

    /// The estimate, in seconds; `None` if there is none, or it is too old.
    #[must_use]
    pub fn seconds(&self, at: Duration) -> Option<f32> {
        fresh(self.0.load(Ordering::Relaxed), at).map(|(seconds, _)| seconds)
    }

    /// Forgets what was measured.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn update(&self, at: Duration, change: impl Fn(Option<f32>, Duration) -> Option<f32>) {
        let update = |word| {
            let (before, since) = fresh(word, at).unzip();
            let after = change(before, since.unwrap_or_default())?;
            Some(u64::from(after.to_bits()) << 32 | u64::from(millis(at)))
        };
        // A change that comes to nothing leaves the word as it is.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }
}

/// The estimate, and how old it is.
fn fresh(word: u64, at: Duration) -> Option<(f32, Duration)> {
    let seconds = f32::from_bits((word >> 32) as u32);
    // Another thread may have measured a little later than `at`.
    let since = millis(at).wrapping_sub(word as u32).cast_signed().max(0);
    let since = Duration::from_millis(u64::from(since.cast_unsigned()));
    (seconds > 0.0 && since < FRESH_FOR).then_some((seconds, since))
}

fn millis(at: Duration) -> u32 {
    at.as_millis() as u32
}

/// Power of two choices among `count` candidates. `relative(a, b)` is how many times
/// as loaded as `b` the candidate `a` is.
pub fn two_choices<C: Copy>(
    mut candidates: impl Iterator<Item = C> + Clone,
    count: usize,
    relative: impl FnOnce(C, C) -> f64,
) -> Option<C> {
    if count < 2 {
        return candidates.next();
    }
    let (one, other) = two_of(count);
    let (one, other) = (candidates.clone().nth(one)?, candidates.nth(other)?);
    Some(if relative(other, one) < 1.0 {
        other
    } else {
        one
    })
}

/// Two different random numbers below `count`, which is at least 2.
#[must_use]
pub fn two_of(count: usize) -> (usize, usize) {
    let one = fastrand::usize(..count);
    (one, (one + fastrand::usize(1..count)) % count)
}

#[cfg(test)]
mod tests;
