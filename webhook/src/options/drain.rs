//! How long a sidecar waits for open connections, within what its pod is given.

use std::time::Duration;

use crate::pod::Pod;

/// Between the end of the sidecar's drain and SIGKILL, so that it exits by itself.
const EXIT_MARGIN: Duration = Duration::from_secs(2);

/// Why a drain timeout is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotADrain {
    /// It is no duration.
    Unreadable,
    /// SIGKILL would come first, or at the same moment.
    TooLong {
        /// `terminationGracePeriodSeconds`.
        grace_seconds: u64,
    },
}

/// # Errors
/// If it can't be read, or the pod has no more time than that.
pub(super) fn parse(value: &str, pod: &Pod<'_>) -> Result<Duration, NotADrain> {
    let timeout = humantime::parse_duration(value).map_err(|_| NotADrain::Unreadable)?;
    if fits(timeout, pod) {
        Ok(timeout)
    } else {
        let grace_seconds = pod.termination_grace_seconds();
        Err(NotADrain::TooLong { grace_seconds })
    }
}

/// Whether a drain of that length is over before SIGKILL.
pub(super) fn fits(timeout: Duration, pod: &Pod<'_>) -> bool {
    timeout.is_zero() || timeout < grace(pod)
}

/// As long as the kubelet allows, less a margin: whoever still holds a connection
/// by then has been waited for. A grace period too short for the margin is halved.
pub(super) fn longest(pod: &Pod<'_>) -> Duration {
    let grace = grace(pod);
    grace.saturating_sub(EXIT_MARGIN).max(grace / 2)
}

/// `28s`, `1m58s`, `500ms`.
pub(crate) fn written(duration: Duration) -> String {
    humantime::format_duration(duration)
        .to_string()
        .replace(' ', "")
}

fn grace(pod: &Pod<'_>) -> Duration {
    Duration::from_secs(pod.termination_grace_seconds())
}
