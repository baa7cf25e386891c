//! How many of an endpoint's requests failed lately, and whether that is far more than
//! of its siblings'.
//!
//! An endpoint that fails every other request never fails often in a row. Beside its
//! siblings it stands out; and what the requests themselves are to blame for fails at
//! all of them alike, so that answers count here which say nothing alone (500).

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Requests are counted over so many slots of so many seconds: half a minute.
const SLOTS: u64 = 6;
const SLOT_SECONDS: u64 = 5;
/// Fewer requests, of the endpoint or of its siblings together, say nothing.
const REQUESTS_MIN: u64 = 50;
/// A difference that is not so many standard errors may be chance: looked at once a
/// second, it would come up once in a quarter of an hour at three of them.
const ERRORS_MIN: f64 = 4.0;

/// One slot is one word: which slot (16 bits), its requests (24), its failures (24).
const FAILURE: u64 = 1;
const REQUEST_SHIFT: u32 = 24;
const REQUEST: u64 = 1 << REQUEST_SHIFT;
const COUNT_MAX: u64 = (1 << 24) - 1;
const NUMBER_SHIFT: u32 = 48;
const NUMBER_MAX: u64 = (1 << 16) - 1;

/// An endpoint's requests. Threads share it without a lock.
#[derive(Debug, Default)]
pub struct Rates {
    slots: [AtomicU64; SLOTS as usize],
    /// The second in which it was last looked at.
    looked: AtomicU32,
}

/// Requests, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// All of them.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
}

impl Rates {
    /// A request ended. `at` is the time since an instant that is the same in each call.
    pub fn count(&self, failed: bool, at: Duration) {
        self.add(REQUEST + FAILURE * u64::from(failed), at);
    }

    /// A request that was counted as a success turned out to be none.
    pub fn count_late_failure(&self, at: Duration) {
        self.add(FAILURE, at);
    }

    fn add(&self, what: u64, at: Duration) {
        let number = number(at);
        let slot = &self.slots[(number % SLOTS) as usize];
        let word = slot.load(Relaxed);
        let begun = number << NUMBER_SHIFT | what;
        if word >> NUMBER_SHIFT != number
            && slot.compare_exchange(word, begun, Relaxed, Relaxed).is_ok()
        {
            return;
        }
        // Another thread may have begun the slot just now.
        slot.fetch_add(what, Relaxed);
    }

    /// What was counted in the last half a minute.
    #[must_use]
    pub fn lately(&self, at: Duration) -> Rate {
        let now = number(at);
        let words = self.slots.iter().map(|slot| slot.load(Relaxed));
        let fresh = words.filter(|word| {
            let age = now.wrapping_sub(word >> NUMBER_SHIFT) & NUMBER_MAX;
            age < SLOTS
        });
        let sum = fresh.fold(Rate::default(), |sum, word| Rate {
            requests: sum.requests + (word >> REQUEST_SHIFT & COUNT_MAX),
            failures: sum.failures + (word & COUNT_MAX),
        });
        Rate {
            failures: sum.failures.min(sum.requests),
            ..sum
        }
    }

    /// Whether nobody has looked in this second yet. To compare costs more than to count.
    #[must_use]
    pub fn is_due(&self, at: Duration) -> bool {
        // Zero is for never.
        let second = (at.as_secs() as u32).wrapping_add(1);
        self.looked.swap(second, Relaxed) != second
    }

    /// Forgets what was counted.
    pub fn forget(&self) {
        self.slots.iter().for_each(|slot| slot.store(0, Relaxed));
    }
}

impl Rate {
    /// Whether so many requests say something.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.requests >= REQUESTS_MIN
    }

    /// Whether more of these fail than of the `others`, by `gap` at least (a share, from
    /// 0 to 1), and not by chance.
    #[must_use]
    pub fn is_worse_than(&self, others: &Rate, gap: f64) -> bool {
        if !self.is_enough() || !others.is_enough() {
            return false;
        }
        let share = |rate: &Rate| rate.failures as f64 / rate.requests as f64;
        let all = Rate {
            requests: self.requests + others.requests,
            failures: self.failures + others.failures,
        };
        // The standard error of a difference of two shares.
        let sizes = 1.0 / self.requests as f64 + 1.0 / others.requests as f64;
        let error = (share(&all) * (1.0 - share(&all)) * sizes).sqrt();
        let difference = share(self) - share(others);
        difference >= gap && difference >= ERRORS_MIN * error
    }
}

impl std::iter::Sum for Rate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::default(), |sum, rate| Self {
            requests: sum.requests + rate.requests,
            failures: sum.failures + rate.failures,
        })
    }
}

fn number(at: Duration) -> u64 {
    (at.as_secs() / SLOT_SECONDS) & NUMBER_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(failures: u64, requests: u64) -> Rate {
        Rate { requests, failures }
    }

    #[test]
    fn what_says_too_little_is_not_worse() {
        for (own, others) in [
            (rate(49, 49), rate(0, 1000)),
            (rate(1000, 1000), rate(0, 49)),
            (rate(29, 100), rate(0, 1000)),
            (rate(100, 100), rate(71, 100)),
            (rate(40, 100), rate(50, 100)),
            (rate(40, 50), rate(25, 50)),
        ] {
            assert!(!own.is_worse_than(&others, 0.3), "{own:?} {others:?}");
        }
    }

    #[test]
    fn what_fails_far_more_often_is_worse() {
        for (own, others) in [
            (rate(50, 50), rate(0, 50)),
            (rate(30, 100), rate(0, 100)),
            (rate(500, 1000), rate(190, 1000)),
        ] {
            assert!(own.is_worse_than(&others, 0.3), "{own:?} {others:?}");
        }
        assert!(rate(60, 1000).is_worse_than(&rate(0, 1000), 0.05));
    }

    #[test]
    fn equals_are_hardly_ever_taken_for_worse() {
        fastrand::seed(7);
        let sample = |requests| {
            let failures = (0..requests).filter(|_| fastrand::f64() < 0.5).count();
            rate(failures as u64, requests)
        };
        let looks = 20_000;
        let wrong = (0..looks).filter(|_| sample(60).is_worse_than(&sample(180), 0.2));
        assert!(wrong.count() <= 4);
    }

    #[test]
    fn half_a_minute_is_counted() {
        let rates = Rates::default();
        let second = Duration::from_secs;
        for at in 0..60 {
            rates.count(at % 2 == 0, second(at));
            rates.count(false, second(at));
        }
        assert_eq!(rates.lately(second(59)), rate(15, 60));
        rates.count_late_failure(second(59));
        assert_eq!(rates.lately(second(59)), rate(16, 60));
        assert_eq!(rates.lately(second(75)), rate(6, 20));
        assert_eq!(rates.lately(second(90)), rate(0, 0));
        rates.forget();
        assert_eq!(rates.lately(second(59)), rate(0, 0));
    }

    #[test]
    fn it_is_looked_at_once_a_second() {
        let rates = Rates::default();
        let looks = [0, 10, 999, 1000, 1001, 2000].map(Duration::from_millis);
        let due = looks.map(|at| rates.is_due(at));
        assert_eq!(due, [true, false, false, true, false, true]);
    }
}
