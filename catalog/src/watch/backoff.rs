//! When the API server is asked again, and when it has answered.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{CONNECT_TIMEOUT, READ_TIMEOUT};

/// First and longest pause before the API server is asked again.
pub(super) const MIN: Duration = Duration::from_millis(200);
pub(super) const MAX: Duration = Duration::from_secs(10);
/// What was asked for so long before it failed was answered: the next pause is the first
/// again. Nobody says so, where nothing happens: neither that a watch has begun nor that it
/// goes on is an event.
const GOOD_WATCH: Duration = MAX;
/// By then, one that wasn't answered would have failed.
const SURELY_WATCHING: Duration = CONNECT_TIMEOUT.saturating_add(READ_TIMEOUT);

/// The failures since all was well, and what they lead to.
#[derive(Debug)]
pub(super) struct Backoff {
    failures: u32,
    pause: Duration,
    /// When the API server is asked, or was for the last time.
    asked_at: Instant,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self {
            failures: 0,
            pause: MIN,
            asked_at: Instant::now(),
        }
    }

    /// How long to wait after a failure.
    pub(super) fn failed(&mut self) -> Duration {
        let now = Instant::now();
        if now >= self.asked_at + GOOD_WATCH {
            (self.failures, self.pause) = (0, MIN);
        }
        self.failures += 1;
        let pause = self.pause.mul_f64(0.5 + fastrand::f64());
        self.pause = (self.pause * 2).min(MAX);
        self.asked_at = now + pause;
        pause
    }

    /// All is well. How many failures there were before; `None` if there were none.
    pub(super) fn recovered(&mut self) -> Option<u32> {
        self.pause = MIN;
        Some(std::mem::take(&mut self.failures)).filter(|failures| *failures > 0)
    }

    /// Resolves once what was asked for after a failure has been answered for sure.
    pub(super) async fn answered(&self) {
        if self.failures == 0 {
            return pending().await;
        }
        sleep_until(self.asked_at + SURELY_WATCHING).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_a_watch_was_good() {
        let mut backoff = Backoff::new();
        let mut expected = MIN;
        for _ in 0..10 {
            let pause = backoff.failed();
            assert!(pause >= expected / 2 && pause <= expected * 3 / 2);
            // It fails at once.
            advance(pause).await;
            expected = (expected * 2).min(MAX);
        }
        advance(GOOD_WATCH).await;
        let pause = backoff.failed();
        assert!(pause <= MIN * 3 / 2, "{pause:?}");
        assert_eq!(backoff.recovered(), Some(1), "those before are over");
        assert_eq!(backoff.recovered(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_does_not_fail_is_well_although_nothing_happens() {
        let mut backoff = Backoff::new();
        let never = timeout(SURELY_WATCHING * 10, backoff.answered()).await;
        assert!(never.is_err(), "it was well all the time");
        let begun = Instant::now();
        let pause = backoff.failed();
        backoff.answered().await;
        // To the millisecond, as timers are.
        let late = begun.elapsed() - (pause + SURELY_WATCHING);
        assert!(late < Duration::from_millis(2), "{late:?}");
    }
}
