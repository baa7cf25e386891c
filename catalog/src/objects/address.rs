//! IP addresses in Kubernetes objects.

use std::net::IpAddr;

use super::Reason;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which they are listed.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// An address that connections can go to from any pod. The API server's own
/// validation of endpoints draws the same line (`ValidateNonSpecialIP`), which
/// keeps an endpoint from naming the sidecar that connects to it.
pub(super) fn unicast(text: &str) -> Result<IpAddr, Reason> {
    let ip: IpAddr = text.parse().map_err(|_| Reason::BadAddress)?;
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local {
        return Err(Reason::SpecialAddress);
    }
    Ok(ip)
}
