//! Networks and single addresses, IPv4 or IPv6.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};

/// A network with its host bits cleared; an address alone is a network of one. IPv4 that
/// is written as IPv6 (`::ffff:10.0.0.0/104`) is IPv4, as it is on the wire: netting-init
/// takes it in no other form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(IpNet);

/// Why an item of a list of networks does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a network such as 10.0.0.0/8 or fd00::/8")]
pub struct NotACidr;

impl Cidr {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>()
            .or_else(|_| address())
            .map(|net| Self(unmapped(net.trunc())))
            .map_err(|_| NotACidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The IPv4 network that an IPv4-mapped one stands for (RFC 4291 section 2.5.5.2).
fn unmapped(net: IpNet) -> IpNet {
    const MAPPED_PREFIX: u8 = 96;
    let IpNet::V6(mapped) = net else { return net };
    let ipv4 = mapped.addr().to_ipv4_mapped();
    let prefix = mapped.prefix_len().checked_sub(MAPPED_PREFIX);
    match (ipv4, prefix) {
        (Some(ipv4), Some(prefix)) => Ipv4Net::new(ipv4, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let cidr: Cidr = text.parse().expect("it is a network");
        cidr.to_string()
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "fd00::/129",
            "fe80::1%eth0",
            "all",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(NotACidr), "{text:?}");
        }
    }

    #[test]
    fn ipv4_in_the_clothes_of_ipv6_is_ipv4() {
        assert_eq!(written("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(written("::ffff:10.1.2.3/104"), "10.0.0.0/8");
        assert_eq!(written("::ffff:10.0.0.1"), "10.0.0.1/32");
        assert_eq!(written("::ffff:0:0/96"), "0.0.0.0/0");
        let mapped: Cidr = "::ffff:10.0.0.0/104".parse().expect("it is a network");
        assert!(mapped.contains([10, 9, 8, 7].into()));
    }

    #[test]
    fn wider_networks_and_other_forms_stay_ipv6() {
        for text in [
            "::ffc0:0:0/90",
            "::/0",
            "::/96",
            "::a00:1/128",
            "64:ff9b::/96",
        ] {
            assert_eq!(written(text), text);
        }
        assert_eq!(written("::ffff:0:0/90"), "::ffc0:0:0/90");
    }
}
