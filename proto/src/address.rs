//! [`v1::Address`] to and from the standard library's type.

use std::net::{IpAddr, SocketAddr};

use crate::v1;

/// An address on the wire that is no TCP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadAddress {
    /// The message has no address where it needs one.
    Missing,
    /// The IP is neither 4 nor 16 bytes; its length in bytes.
    IpLength(usize),
    /// The port is not in 1 to 65535.
    Port(u32),
}

impl std::fmt::Display for BadAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadAddress::Missing => write!(f, "no address given"),
            BadAddress::IpLength(length) => {
                write!(f, "an IP of {length} bytes; expected 4 or 16")
            }
            BadAddress::Port(port) => write!(f, "port {port}; expected 1 to 65535"),
        }
    }
}

impl std::error::Error for BadAddress {}

impl From<SocketAddr> for v1::Address {
    /// An IPv4-mapped IPv6 address is written as the IPv4 address it stands for,
    /// so that one destination has one spelling.
    fn from(addr: SocketAddr) -> Self {
        let ip = match addr.ip().to_canonical() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        v1::Address {
            ip,
            port: addr.port().into(),
        }
    }
}

impl TryFrom<&v1::Address> for SocketAddr {
    type Error = BadAddress;

    fn try_from(address: &v1::Address) -> Result<Self, BadAddress> {
        let ip = if let Ok(octets) = <[u8; 4]>::try_from(&address.ip[..]) {
            IpAddr::from(octets)
        } else if let Ok(octets) = <[u8; 16]>::try_from(&address.ip[..]) {
            IpAddr::from(octets).to_canonical()
        } else {
            return Err(BadAddress::IpLength(address.ip.len()));
        };
        match u16::try_from(address.port) {
            Ok(port) if port != 0 => Ok(SocketAddr::new(ip, port)),
            _ => Err(BadAddress::Port(address.port)),
        }
    }
}

/// The address of a message field, which protobuf always makes optional.
///
/// # Errors
/// If it is missing, or no TCP address.
pub fn required(address: Option<&v1::Address>) -> Result<SocketAddr, BadAddress> {
    address.ok_or(BadAddress::Missing)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(ip: &[u8], port: u32) -> v1::Address {
        v1::Address {
            ip: ip.to_vec(),
            port,
        }
    }

    #[test]
    fn refuses_what_is_no_tcp_address() {
        for (address, error) in [
            (wire(&[], 80), BadAddress::IpLength(0)),
            (wire(&[10, 0, 0], 80), BadAddress::IpLength(3)),
            (wire(&[10, 0, 0, 1], 0), BadAddress::Port(0)),
            (wire(&[10, 0, 0, 1], 65536), BadAddress::Port(65536)),
        ] {
            assert_eq!(SocketAddr::try_from(&address), Err(error));
        }
        assert_eq!(required(None), Err(BadAddress::Missing));
    }

    #[test]
    fn keeps_both_families() {
        for addr in ["10.0.0.1:80", "[fd00::1]:443"] {
            let addr: SocketAddr = addr.parse().expect("a literal address");
            assert_eq!(required(Some(&addr.into())), Ok(addr));
        }
    }

    #[test]
    fn writes_a_mapped_address_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:80".parse().expect("a literal address");
        assert_eq!(v1::Address::from(mapped), wire(&[10, 0, 0, 1], 80));
    }
}
