//! Gives memory back that connections have taken, once they have ended.
//!
//! What is freed, glibc keeps for whoever comes next, but for the end of a heap; and there
//! something nearly always lives that came later than those connections. So ten thousand
//! that were open for a minute would be paid for by their pod for good, if nobody asked
//! (`malloc_trim(3)`). Meanwhile those who allocate wait: some milliseconds for 30 MB that are
//! given back, 20 for 75 MB.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use netting_runtime::Drain;
use tokio::time::sleep;

/// Between two looks at how many there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What fewer have held is not worth the while: some hundred KB.
const MANY: usize = 100;

/// The most connections that were open at a time since memory was given back.
#[derive(Clone, Debug, Default)]
pub struct Peak(Arc<AtomicUsize>);

impl Peak {
    /// So many are open now that there is one more.
    pub fn opened(&self, open: usize) {
        self.0.fetch_max(open, Relaxed);
    }

    /// Whether many have ended since, and most of them. So who opens and closes a few all
    /// the time is not held up again and again.
    fn is_past(&self, open: usize) -> bool {
        let most = self.0.load(Relaxed);
        let is_past = most.saturating_sub(open) >= MANY && open <= most / 2;
        if is_past {
            self.0.store(open, Relaxed);
        }
        is_past
    }
}

/// Looks on for as long as the process runs.
pub async fn give_back(peak: Peak, drain: Drain) {
    loop {
        sleep(LOOK_EVERY).await;
        if peak.is_past(drain.tasks()) {
            let begun = Instant::now();
            let given_back = trim();
            let took = begun.elapsed();
            tracing::debug!(given_back, ?took, "asked for memory to be given back");
        }
    }
}

/// Whether there was any.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "no dependency knows how to ask the allocator")]
fn trim() -> bool {
    // SAFETY: it takes the allocator's own locks, and touches nothing that is in use.
    unsafe { libc::malloc_trim(0) != 0 }
}

/// Other allocators are not asked.
#[cfg(not(target_env = "gnu"))]
fn trim() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_worth_the_while_once_many_and_most_have_ended() {
        for (most, open, is_past) in [
            (0, 0, false),
            (99, 0, false),
            (100, 0, true),
            (1000, 501, false),
            (1000, 500, true),
        ] {
            let peak = Peak::default();
            peak.opened(most);
            assert_eq!(peak.is_past(open), is_past, "{open} of {most} are open");
        }
    }

    #[test]
    fn is_asked_for_once_for_each_peak() {
        let peak = Peak::default();
        peak.opened(1000);
        peak.opened(999);
        assert!(peak.is_past(10));
        assert!(!peak.is_past(10) && !peak.is_past(0));
        peak.opened(200);
        assert!(peak.is_past(0));
    }
}
