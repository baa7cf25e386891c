//! How many retries a destination may be sent.
//!
//! Retries help against the failure of one endpoint and hurt in the failure of all:
//! there they multiply the load when it can least be borne. So there may be only so
//! many of them for the requests of the last ten seconds.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// Over how many seconds requests and retries are counted, one slot for each.
const WINDOW_SECONDS: u64 = 10;
/// One retry for so many requests: 20 %.
const REQUESTS_FOR_A_RETRY: u64 = 5;
/// So many retries a second may be sent whatever the number of requests.
const RETRIES_A_SECOND_MIN: u64 = 10;

/// A bucket that requests fill and retries empty; what is in it lasts ten seconds.
#[derive(Debug)]
pub struct Budget {
    begun: Instant,
    slots: [Slot; WINDOW_SECONDS as usize],
}

/// One second, as one word: which second (24 bits), its requests (24), its retries
/// (16). A slot of an earlier second counts as empty.
#[derive(Debug, Default)]
struct Slot(AtomicU64);

/// After this, about half a year, seconds are counted from zero again.
const SECOND_MAX: u64 = (1 << 24) - 1;
const REQUESTS_MAX: u64 = (1 << 24) - 1;
const RETRIES_MAX: u64 = (1 << 16) - 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    second: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// An empty window.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            begun: now,
            slots: Default::default(),
        }
    }

    /// A request that is no retry.
    pub fn request(&self, now: Instant) {
        self.count(now, |counts| counts.requests += 1);
    }

    /// Takes a retry out of the budget. `false` if there is none left; don't retry
    /// then. Threads that ask in the same instant may take one too many each.
    #[must_use]
    pub fn retry(&self, now: Instant) -> bool {
        let granted = self.left(now) > 0;
        if granted {
            self.count(now, |counts| counts.retries += 1);
        }
        granted
    }

    /// How many retries may be sent now.
    #[must_use]
    pub fn left(&self, now: Instant) -> u64 {
        let second = self.second(now);
        let age = |counts: &Counts| second.wrapping_sub(counts.second) & SECOND_MAX;
        let in_window = |counts: &Counts| age(counts) < WINDOW_SECONDS;
        let slots = self
            .slots
            .iter()
            .map(|slot| unpack(slot.0.load(Ordering::Relaxed)));
        let (requests, retries) = slots.filter(in_window).fold((0, 0), |sums, counts| {
            (sums.0 + counts.requests, sums.1 + counts.retries)
        });
        let allowed = requests / REQUESTS_FOR_A_RETRY + RETRIES_A_SECOND_MIN * WINDOW_SECONDS;
        allowed.saturating_sub(retries)
    }

    fn count(&self, now: Instant, change: impl Fn(&mut Counts)) {
        let second = self.second(now);
        let slot = &self.slots[(second % WINDOW_SECONDS) as usize];
        let update = |word| {
            let mut counts = unpack(word);
            if counts.second != second {
                counts = Counts {
                    second,
                    ..Counts::default()
                };
            }
            change(&mut counts);
            Some(pack(counts))
        };
        let updated = slot
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        updated.expect("there is always a next word");
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs() & SECOND_MAX
    }
}

fn pack(counts: Counts) -> u64 {
    let requests = counts.requests.min(REQUESTS_MAX);
    counts.second << 40 | requests << 16 | counts.retries.min(RETRIES_MAX)
}

fn unpack(word: u64) -> Counts {
    Counts {
        second: word >> 40,
        requests: word >> 16 & REQUESTS_MAX,
        retries: word & RETRIES_MAX,
    }
}

#[cfg(test)]
mod tests;
