//! Peers that have gone without a word while something is on its way to them.
//!
//! The kernel sends it again and again (RFC 6298), with pauses that double, and gives up
//! after a quarter of an hour (`tcp_retries2`, tcp(7)). `TCP_USER_TIMEOUT` would have it
//! give up sooner, but also where a peer is well and reads nothing for as long. That one
//! says so whenever it is asked (RFC 9293 section 3.8.6.1), and nothing is sent again.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd as _},
    time::Duration,
};

/// The kernel waits as long at least before it sends something again (`TCP_RTO_MIN`).
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// Whether something was sent to the peer again so many times in a row, or more, and not
/// acknowledged.
#[must_use]
pub fn has_vanished(stream: &impl AsFd, retries: u8) -> bool {
    tcp_info(stream).is_some_and(|info| info.tcpi_retransmits >= retries)
}

/// How long it takes the kernel at least to send something again so many times.
#[must_use]
pub fn takes_at_least(retries: u8) -> Duration {
    let pauses = 2_u32.saturating_pow(retries.into()) - 1;
    PAUSE_MIN.saturating_mul(pauses)
}

#[allow(unsafe_code, reason = "no dependency knows how to ask for TCP_INFO")]
fn tcp_info(stream: &impl AsFd) -> Option<libc::tcp_info> {
    let size = mem::size_of::<libc::tcp_info>();
    let mut length = libc::socklen_t::try_from(size).expect("it is a few hundred bytes");
    // SAFETY: it is made of numbers, for all of which zero will do.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most `length` bytes, which is what there is room for.
    let asked = unsafe {
        let (fd, info) = (stream.as_fd().as_raw_fd(), &raw mut info);
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.cast(),
            &raw mut length,
        )
    };
    (asked == 0).then_some(info)
}
