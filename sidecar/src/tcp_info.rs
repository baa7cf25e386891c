//! What the kernel knows of a connection's peer (`TCP_INFO`, tcp(7)).

use std::{
    mem::{self, offset_of},
    os::fd::{AsFd, AsRawFd as _},
};

use libc::tcp_info;

/// `TCP_CLOSE` of the kernel's `include/net/tcp_states.h`.
const CLOSE: u8 = 7;

/// How often something was sent to the peer again in a row, and not acknowledged.
#[must_use]
pub fn retransmits(stream: &impl AsFd) -> Option<u8> {
    let (info, length) = ask(stream)?;
    let has_field = length > offset_of!(tcp_info, tcpi_retransmits);
    has_field.then_some(info.tcpi_retransmits)
}

/// Whether a connection is over in both directions: each side has said that it ends and
/// heard so, or one has broken off.
#[must_use]
pub fn is_closed(stream: &impl AsFd) -> bool {
    ask(stream).is_some_and(|(info, length)| length > 0 && info.tcpi_state == CLOSE)
}

/// How many bytes the peer has acknowledged on a connection that was made from here.
/// Nothing, if the kernel doesn't say (before Linux 4.1, or where it is another one).
///
/// That the peer's kernel has got them is acknowledged with every segment that it sends,
/// also with the one that says that no more will come (FIN). It is not with a reset,
/// which may overtake what its kernel was about to acknowledge.
#[must_use]
pub fn acknowledged(stream: &impl AsFd) -> Option<u64> {
    let (info, length) = ask(stream)?;
    let field = offset_of!(tcp_info, tcpi_bytes_acked);
    let has_field = length >= field + mem::size_of_val(&info.tcpi_bytes_acked);
    // The connection's beginning (SYN) counts as one.
    info.tcpi_bytes_acked.checked_sub(1).filter(|_| has_field)
}

/// What the kernel says, and how many bytes of it.
#[allow(unsafe_code, reason = "no dependency knows how to ask for TCP_INFO")]
fn ask(stream: &impl AsFd) -> Option<(tcp_info, usize)> {
    let size = mem::size_of::<tcp_info>();
    let mut length = libc::socklen_t::try_from(size).expect("it is a few hundred bytes");
    // SAFETY: it is made of numbers, for all of which zero will do.
    let mut info: tcp_info = unsafe { mem::zeroed() };
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
    (asked == 0).then_some((info, length as usize))
}
