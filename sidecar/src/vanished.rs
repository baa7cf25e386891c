//! Peers that have gone without a word while something is on its way to them.
//!
//! The kernel sends it again and again (RFC 6298), with pauses that double, and gives up
//! after a quarter of an hour (`tcp_retries2`, tcp(7)). `TCP_USER_TIMEOUT` would have it
//! give up sooner, but also where a peer is well and reads nothing for as long. That one
//! says so whenever it is asked (RFC 9293 section 3.8.6.1), and nothing is sent again.

use std::{os::fd::AsFd, time::Duration};

use crate::tcp_info;

/// The kernel waits as long at least before it sends something again (`TCP_RTO_MIN`).
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// Whether something was sent to the peer again so many times in a row, or more, and not
/// acknowledged.
#[must_use]
pub fn has_vanished(stream: &impl AsFd, retries: u8) -> bool {
    tcp_info::retransmits(stream).is_some_and(|times| times >= retries)
}

/// How long it takes the kernel at least to send something again so many times.
#[must_use]
pub fn takes_at_least(retries: u8) -> Duration {
    let pauses = 2_u32.saturating_pow(retries.into()) - 1;
    PAUSE_MIN.saturating_mul(pauses)
}
