use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::pod::Pod;
use crate::{Family, Options};

/// Addresses that lead nowhere, kept for documentation (RFC 5737) and for benchmarks (RFC 2544).
/// Several, as one may be in a network that the user wants skipped.
const NOWHERE_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(198, 18, 0, 1),
];

/// The same for IPv6: documentation (RFC 3849, RFC 9637) and the discard prefix (RFC 6666).
const NOWHERE_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1),
];

/// Discard (RFC 863): where no rules are in the way, nobody should be bothered.
const PORT: u16 = 9;

/// Why no connection of a family is redirected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exempt {
    /// The pod has no address of this family but loopback and link-local ones.
    NoAddress,
    /// Every address that could be tried is in a skipped network.
    AddressesSkipped,
    /// Every port is skipped.
    PortsSkipped,
    /// The kernel refuses to make any, as while an IPv6 address is still checked for doubles
    /// (RFC 4862): then the application can make none either.
    Unreachable,
}

impl Exempt {
    /// The form of log fields.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoAddress => "no_address",
            Self::AddressesSkipped => "addresses_skipped",
            Self::PortsSkipped => "ports_skipped",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Where to connect, in order; at least one. The first leads nowhere, so that an answer proves a
/// redirection. The last is the pod's own address, for pods that have no route to nowhere: it is
/// redirected as well, and refused if it isn't, as nobody listens on such a port.
pub(super) fn choose(
    options: &Options,
    pod: &Pod,
    family: Family,
) -> Result<Vec<SocketAddr>, Exempt> {
    let own = pod.address(family).ok_or(Exempt::NoAddress)?;
    let taken = [
        options.outbound_port,
        options.inbound_port,
        options.admin_port,
    ];
    let port = std::iter::once(PORT)
        .chain(1..=u16::MAX)
        .find(|port| !options.skip_outbound_ports.contains(*port) && !taken.contains(port))
        .ok_or(Exempt::PortsSkipped)?;
    let nowhere: Vec<IpAddr> = match family {
        Family::V4 => NOWHERE_V4.map(IpAddr::V4).to_vec(),
        Family::V6 => NOWHERE_V6.map(IpAddr::V6).to_vec(),
    };
    let redirected = |addr: &IpAddr| !options.skip_outbound_cidrs.contains(*addr);
    let nowhere = nowhere.into_iter().find(redirected);
    let own = Some(own).filter(redirected);
    let probes: Vec<_> = nowhere.into_iter().chain(own).collect();
    if probes.is_empty() {
        return Err(Exempt::AddressesSkipped);
    }
    let with_port = |addr| SocketAddr::new(addr, port);
    Ok(probes.into_iter().map(with_port).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Args;

    fn chosen(flags: &[&str], addresses: &[&str], family: Family) -> Result<Vec<String>, Exempt> {
        let name = std::iter::once("netting-iptables-init");
        let args =
            Args::try_parse_from(name.chain(flags.iter().copied())).expect("clap is content");
        let options = Options::try_from(&args).expect("the options are right");
        let addresses = addresses.iter().map(|a| a.parse().expect("an address"));
        let pod = Pod {
            addresses: addresses.collect(),
        };
        let probes = choose(&options, &pod, family)?;
        Ok(probes.iter().map(ToString::to_string).collect())
    }

    fn v4(flags: &[&str]) -> Result<Vec<String>, Exempt> {
        chosen(flags, &["fd00::2", "10.0.0.2"], Family::V4)
    }

    #[test]
    fn a_family_without_an_address_has_no_probes() {
        assert_eq!(
            chosen(&[], &["10.0.0.2"], Family::V6),
            Err(Exempt::NoAddress)
        );
        assert_eq!(
            chosen(&[], &["fd00::2"], Family::V4),
            Err(Exempt::NoAddress)
        );
    }

    #[test]
    fn when_everything_is_skipped_there_are_no_probes() {
        let all = ["--skip-outbound-cidrs=0.0.0.0/0"];
        assert_eq!(v4(&all), Err(Exempt::AddressesSkipped));
        let all = ["--skip-outbound-ports=1-65535"];
        assert_eq!(v4(&all), Err(Exempt::PortsSkipped));
        let all_but_its_own = ["--skip-outbound-ports=1-15000,15002-65535"];
        assert_eq!(v4(&all_but_its_own), Err(Exempt::PortsSkipped));
    }

    #[test]
    fn goes_nowhere_first_and_home_last() {
        let probes = v4(&[]).expect("there are probes");
        assert_eq!(probes, ["192.0.2.1:9", "10.0.0.2:9"]);
        let probes = chosen(&[], &["10.0.0.2", "fd00::2"], Family::V6).expect("there are probes");
        assert_eq!(probes, ["[2001:db8::1]:9", "[fd00::2]:9"]);
    }

    #[test]
    fn keeps_away_from_what_is_skipped() {
        let probes = v4(&[
            "--skip-outbound-cidrs=192.0.2.0/24,10.0.0.0/8",
            "--skip-outbound-ports=1-79",
            "--outbound-port=80",
        ]);
        assert_eq!(probes.expect("there are probes"), ["198.51.100.1:81"]);
    }
}
