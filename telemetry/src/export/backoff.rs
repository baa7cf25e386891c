//! How long to wait after a failure: longer each time, and never two of us alike.

use std::time::Duration;

/// The first pause, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// A backend that asks for more than this is not waited for any longer.
const ASKED_LONGEST: Duration = Duration::from_secs(120);

/// The pauses since the last success.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure, or what the backend `asked` for if that is
    /// longer.
    pub(crate) fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let longest = FIRST * 2_u32.pow(self.failures.min(8));
        self.failures += 1;
        // A backend that comes back is not met by all sidecars at once.
        let pause = longest.min(LONGEST).mul_f64(0.5 + fastrand::f64() / 2.0);
        pause.max(asked.unwrap_or_default().min(ASKED_LONGEST))
    }

    /// How many failures there were since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..100).map(|_| backoff.pause(None)).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST, "{pauses:?}");
        assert!(pauses[99] >= LONGEST / 2, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST), "{pauses:?}");
        backoff.reset();
        assert!(backoff.pause(None) <= FIRST);
    }

    #[test]
    fn what_the_backend_asks_for_is_given_within_bounds() {
        let asked = |seconds| Backoff::default().pause(Some(Duration::from_secs(seconds)));
        assert_eq!(asked(20), Duration::from_secs(20));
        assert_eq!(asked(86_400), ASKED_LONGEST);
        assert!(asked(0) >= FIRST / 2);
    }
}
