//! What the kernel knows of a redirected connection.

use std::{io, net::UdpSocket};

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::addr::OriginalDst;

/// Where a connection was going before iptables redirected it; `None` if it was
/// not redirected.
///
/// The kernel keeps this in conntrack and tells it by `SO_ORIGINAL_DST`
/// (`IP6T_SO_ORIGINAL_DST` for IPv6). For a connection that it never saw, or never
/// changed, it says `ENOENT` or names the address that the socket has anyway.
///
/// # Errors
/// If the socket is no longer connected, or the kernel lacks conntrack.
pub fn original_dst(stream: &TcpStream) -> io::Result<Option<OriginalDst>> {
    let local = stream.local_addr()?;
    let socket = SockRef::from(stream);
    let original = if local.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    let original = match original {
        Ok(original) => original.as_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(original
        .filter(|original| *original != local)
        .map(OriginalDst))
}

/// Whether the destination is an address of this pod. A neighbour on the same link
/// can send the pod packets for any address, and the redirection takes them all.
///
/// Nearly always it is the address that the kernel redirected to, the interface's
/// first. One of several others shows by letting itself be bound.
#[must_use]
pub fn is_own(stream: &TcpStream, dst: OriginalDst) -> bool {
    let redirected_to = stream.local_addr().map(|local| local.ip());
    redirected_to.is_ok_and(|ip| ip == dst.0.ip()) || UdpSocket::bind((dst.0.ip(), 0)).is_ok()
}
