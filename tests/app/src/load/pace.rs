//! When each request is due.

use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// Requests a second at most: beyond, the clock's own grain would set the rate.
const RATE_MAX: u32 = 100_000;

/// Due times that wait to be taken; beyond, the pacing thread waits, and catches up afterwards.
const DUE_QUEUE_CAPACITY: usize = 64;

/// Requests a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u32);

/// Why a text is no rate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number of requests a second, from 1 to {RATE_MAX}")]
pub struct RateError;

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .ok()
            .filter(|rate| (1..=RATE_MAX).contains(rate))
            .map(Self)
            .ok_or(RateError)
    }
}

/// The due times, without end. They depend on the start alone, so a late request delays none.
#[derive(Debug)]
struct Pace {
    start: Instant,
    rate: u32,
    next: u64,
}

impl Pace {
    fn new(start: Instant, Rate(rate): Rate) -> Self {
        Self {
            start,
            rate,
            next: 0,
        }
    }
}

impl Iterator for Pace {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let rate = u64::from(self.rate);
        let (seconds, within) = (self.next / rate, self.next % rate);
        self.next += 1;
        let nanoseconds = within * 1_000_000_000 / rate;
        Some(self.start + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds))
    }
}

/// Sends each due time when it has come, from now on until the receiver is dropped.
///
/// A thread of its own keeps the time, since tokio's timers are a millisecond coarse, which is
/// longer than the requests that are to be measured.
pub(super) fn keep(rate: Rate) -> mpsc::Receiver<Instant> {
    let (sender, receiver) = mpsc::channel(DUE_QUEUE_CAPACITY);
    thread::spawn(move || {
        for due in Pace::new(Instant::now(), rate) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.blocking_send(due).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_rates_that_cannot_be_kept() {
        for text in ["", "0", "-1", "0.5", "100001", "fast"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text:?}");
        }
    }

    #[test]
    fn a_second_holds_as_many_requests_as_the_rate_says_and_drifts_never() {
        let start = Instant::now();
        for rate in [1, 3, 200, 70_000] {
            let mut pace = Pace::new(start, Rate(rate));
            let first_of = |second: u32| (second * rate) as usize;
            assert_eq!(
                pace.nth(first_of(10)),
                Some(start + Duration::from_secs(10))
            );
            let within = pace.take_while(|due| *due < start + Duration::from_secs(11));
            assert_eq!(within.count(), rate as usize - 1, "at {rate} a second");
        }
    }
}
