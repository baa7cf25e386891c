//! For how long a client may go on sending that was told that its connection ends.
//!
//! Closed at once, its last bytes would make the kernel send a reset, which can overtake
//! the answer. Many clients send all of their request before they look for one.

use std::time::Duration;

use tokio::time::Instant;

/// After its last byte.
const QUIET: Duration = Duration::from_secs(1);
/// Altogether.
const WHOLE: Duration = Duration::from_secs(30);

/// What is left of that time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linger {
    until: Instant,
    last: Instant,
}

impl Linger {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            until: now + QUIET,
            last: now + WHOLE,
        }
    }

    /// When it is over, if nothing more is heard.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// The client has sent something. Tells whether it may go on; the time is not begun
    /// anew in a drain, which is not to wait for it.
    pub(super) fn heard(&mut self, now: Instant, is_draining: bool) -> bool {
        if !is_draining {
            self.until = self.last.min(now + QUIET);
        }
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_anew_with_each_byte_but_not_for_ever() {
        let begun = Instant::now();
        let mut linger = Linger::begin(begun);
        assert_eq!(linger.until(), begun + QUIET);
        let mut now = begun;
        while now + QUIET / 2 < begun + WHOLE {
            now += QUIET / 2;
            assert!(linger.heard(now, false), "{:?}", now - begun);
            assert!(now < linger.until() && linger.until() <= begun + WHOLE);
        }
        assert!(!linger.heard(begun + WHOLE, false));
    }

    #[test]
    fn a_drain_waits_for_no_more_than_the_rest_of_a_second() {
        let begun = Instant::now();
        let mut linger = Linger::begin(begun);
        let heard = begun + QUIET / 2;
        assert!(linger.heard(heard, false));
        assert!(linger.heard(heard + QUIET / 2, true));
        assert_eq!(linger.until(), heard + QUIET);
        assert!(!linger.heard(heard + QUIET, true));
    }
}
