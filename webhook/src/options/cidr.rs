//! Networks and single addresses, IPv4 or IPv6.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// A network with its host bits cleared; an address alone is a network of one.
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
            .map(|net| Self(net.trunc()))
            .map_err(|_| NotACidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
