use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::Family;

/// Networks in CIDR notation, of both families, without doubles and in the order they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cidrs(Vec<IpNet>);

impl Cidrs {
    /// Reads a list such as `10.1.0.0/16,fd00:1::/64,192.0.2.7`; an address alone means that one
    /// address. Spaces around items and empty items are ignored.
    ///
    /// # Errors
    /// A sentence for each item that is wrong.
    pub fn parse(list: &str) -> Result<Self, Vec<String>> {
        let (mut nets, mut problems) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for item in list.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            match cidr(item) {
                Ok(net) if seen.insert(net) => nets.push(net),
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self(nets))
        } else {
            Err(problems)
        }
    }

    /// The networks of one family.
    pub fn of(&self, family: Family) -> impl Iterator<Item = &IpNet> {
        self.0.iter().filter(move |net| family.includes(net.addr()))
    }

    /// Whether `addr` lies in one of the networks.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&addr))
    }
}

fn cidr(item: &str) -> Result<IpNet, String> {
    let net = network(item).ok_or_else(|| {
        format!(
            "{} is not a network in CIDR notation, such as 10.1.0.0/16 or fd00:1::/64",
            super::quoted(item)
        )
    })?;
    if net.trunc() != net {
        return Err(format!(
            "{net} has bits set beyond its prefix; write {} for the network or {} for the address",
            net.trunc(),
            net.addr()
        ));
    }
    match net.addr() {
        // Such a packet is IPv4 on the wire, so that an IPv6 rule would never see it.
        IpAddr::V6(addr) if addr.to_ipv4_mapped().is_some() && net.prefix_len() >= 96 => Err(
            format!("{net} is an IPv4 network written as IPv6; write it as IPv4"),
        ),
        _ => Ok(net),
    }
}

/// `IpNet::from_str` alone would take `010.0.0.0/8`, which is another network to some tools.
fn network(item: &str) -> Option<IpNet> {
    let Some((addr, prefix)) = item.split_once('/') else {
        return item.parse::<IpAddr>().ok().map(IpNet::from);
    };
    if !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    IpNet::new(addr.parse().ok()?, prefix.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(list: &str) -> String {
        Cidrs::parse(list)
            .expect_err("the list is wrong")
            .join("; ")
    }

    fn all(list: &str, family: Family) -> Vec<String> {
        let cidrs = Cidrs::parse(list).expect("the list is right");
        cidrs.of(family).map(ToString::to_string).collect()
    }

    #[test]
    fn refuses_what_is_not_a_network() {
        for item in [
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "/8",
            "10.0/16",
            "010.0.0.0/8",
            "10.0.0.256",
            "fd00::/129",
            "fe80::1%eth0",
            "*",
            "all",
            "10.0.0.0/8/8",
            "10.0.0.0 /8",
            "fd00:::/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.1-10.0.0.9",
            "example.com",
            "[::1]",
        ] {
            assert!(problems(item).contains("is not a network"), "{item}");
        }
    }

    #[test]
    fn refuses_bits_beyond_the_prefix_and_offers_both_meanings() {
        assert_eq!(
            problems("10.1.2.3/8"),
            "10.1.2.3/8 has bits set beyond its prefix; \
             write 10.0.0.0/8 for the network or 10.1.2.3 for the address"
        );
        assert!(problems("fd00::1/64").contains("write fd00::/64"));
    }

    #[test]
    fn refuses_ipv4_in_the_clothes_of_ipv6() {
        assert!(problems("::ffff:10.0.0.0/104").contains("write it as IPv4"));
        assert!(problems("::ffff:10.0.0.1").contains("write it as IPv4"));
    }

    #[test]
    fn reports_every_wrong_item() {
        let problems = Cidrs::parse("x,10.0.0.0/8,10.0.0.1/8").expect_err("two items are wrong");
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn sorts_networks_to_their_family_and_drops_doubles() {
        let list = " 10.0.0.0/8,fd00::/8,,192.0.2.7, 10.0.0.0/8,::/0,2001:db8::1";
        assert_eq!(all(list, Family::V4), ["10.0.0.0/8", "192.0.2.7/32"]);
        assert_eq!(
            all(list, Family::V6),
            ["fd00::/8", "::/0", "2001:db8::1/128"]
        );
    }
}
