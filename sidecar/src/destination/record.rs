//! What this sidecar has done with an endpoint, and what came of it.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    balance::{PeakEwma, Unit},
    ejection::{Ejections, Rate, Rates},
};

/// An endpoint that just failed to be connected is left alone for this long, while
/// there are others. Without it, a dead endpoint, which has no open connections,
/// would look like the best choice of all.
pub(super) const AVOID_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Outlives updates of its endpoint. Threads share it; only ejecting takes a lock.
#[derive(Debug)]
pub(super) struct Record {
    born: Instant,
    /// Connections that are relayed, and requests.
    pub(super) pending: AtomicUsize,
    /// The requests among them.
    pub(super) requests: AtomicUsize,
    pub(super) opened: AtomicU64,
    /// Requests that were sent to it.
    pub(super) sent: AtomicU64,
    pub(super) failed: AtomicU64,
    connect: PeakEwma,
    response: PeakEwma,
    failures_in_a_row: AtomicU32,
    rates: Rates,
    /// Avoided or ejected until then: microseconds since `born`.
    out_until_us: AtomicU64,
    ejections: Mutex<Ejections>,
    /// The catalog took the endpoint away.
    gone: AtomicBool,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            pending: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            connect: PeakEwma::default(),
            response: PeakEwma::default(),
            failures_in_a_row: AtomicU32::new(0),
            rates: Rates::default(),
            out_until_us: AtomicU64::new(0),
            ejections: Mutex::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// How long it takes to connect, or to answer.
    pub(super) fn seconds(&self, unit: Unit, now: Instant) -> Option<f32> {
        self.estimate(unit).seconds(self.at(now))
    }

    pub(super) fn took(&self, unit: Unit, took: Duration, now: Instant) {
        self.estimate(unit).observe(took, self.at(now));
    }

    pub(super) fn took_at_least(&self, unit: Unit, lasted: Duration, now: Instant) {
        self.estimate(unit).observe_at_least(lasted, self.at(now));
    }

    fn estimate(&self, unit: Unit) -> &PeakEwma {
        match unit {
            Unit::Connection => &self.connect,
            Unit::Request => &self.response,
        }
    }

    /// Avoided, or ejected.
    pub(super) fn is_out(&self, now: Instant) -> bool {
        let until = self.out_until_us.load(Relaxed);
        until > 0 && micros(self.at(now)) < until
    }

    pub(super) fn ejected_until(&self, now: Instant) -> Option<Instant> {
        // Nearly always there is nothing to lock for.
        self.is_out(now)
            .then(|| self.ejections.lock().until(now))
            .flatten()
    }

    /// Leaves the endpoint alone for a moment.
    pub(super) fn avoid(&self, now: Instant) {
        self.out_until(now + AVOID_AFTER_FAILURE);
    }

    /// It works: what was held against it counts no more.
    pub(super) fn succeeded(&self, now: Instant) {
        if self.failures_in_a_row.load(Relaxed) > 0 {
            self.failures_in_a_row.store(0, Relaxed);
        }
        if self.is_out(now) && self.ejected_until(now).is_none() {
            self.out_until_us.store(0, Relaxed);
        }
    }

    /// Counts a failure. Whether that is one too many for `eject_after`.
    pub(super) fn failed_too_often(&self, eject_after: u32, now: Instant) -> bool {
        let failures = self.failures_in_a_row.fetch_add(1, Relaxed) + 1;
        failures >= eject_after || self.ejections.lock().is_on_probation(now)
    }

    /// Counts a request beside those of its siblings; one that had been taken for a
    /// success turns out to be none.
    pub(super) fn ended(&self, failed: bool, is_first: bool, now: Instant) {
        match (is_first, failed) {
            (true, failed) => self.rates.count(failed, self.at(now)),
            (false, true) => self.rates.count_late_failure(self.at(now)),
            (false, false) => {}
        }
    }

    /// How many of its requests failed lately.
    pub(super) fn rate(&self, now: Instant) -> Rate {
        self.rates.lately(self.at(now))
    }

    /// Whether that is to be compared with its siblings' now.
    pub(super) fn is_to_be_compared(&self, now: Instant) -> bool {
        self.rates.is_due(self.at(now))
    }

    /// Ejects the endpoint. What was measured before says nothing of how it comes
    /// back. Returns for how long.
    pub(super) fn eject(&self, base: Duration, now: Instant) -> Duration {
        let until = self.ejections.lock().eject(base, fastrand::f64(), now);
        self.failures_in_a_row.store(0, Relaxed);
        self.rates.forget();
        self.connect.forget();
        self.response.forget();
        self.out_until(until);
        until - now
    }

    /// Ends its ejection.
    pub(super) fn readmit(&self, now: Instant) {
        self.ejections.lock().end(now);
        self.out_until_us.store(0, Relaxed);
    }

    pub(super) fn remove(&self) {
        self.gone.store(true, Relaxed);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    fn out_until(&self, until: Instant) {
        self.out_until_us.fetch_max(micros(self.at(until)), Relaxed);
    }

    fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }
}

fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}
