//! Gives each pod an address of each family.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// At most this many pods, whatever the size of the networks, so that the pool stays small.
const PODS_MAX: u32 = 4096;

/// The addresses that are free. One that was given back is the last to be taken again: what is
/// still on its way to the old pod must not reach a new one.
#[derive(Debug)]
pub(super) struct Pool {
    v4: Ipv4Net,
    v6: Option<Ipv6Net>,
    /// Offsets into the networks; a pod has the same in both.
    free: VecDeque<u32>,
}

impl Pool {
    pub(super) fn new(v4: Ipv4Net, v6: Option<Ipv6Net>) -> Self {
        let size = 1_u32
            .checked_shl(u32::from(32 - v4.prefix_len()))
            .unwrap_or(u32::MAX);
        // The network's own address, the node's, and the broadcast address are none of a pod's.
        let free = (2..size.saturating_sub(1).min(PODS_MAX)).collect();
        Self { v4, v6, free }
    }

    /// The first address of each network is the node's.
    pub(super) fn gateways(&self) -> Vec<IpAddr> {
        self.at(1)
    }

    pub(super) fn take(&mut self) -> Option<Vec<IpAddr>> {
        let offset = self.free.pop_front()?;
        Some(self.at(offset))
    }

    pub(super) fn give_back(&mut self, addrs: &[IpAddr]) {
        let first = u32::from(self.v4.network());
        for addr in addrs {
            if let IpAddr::V4(addr) = addr {
                self.free.push_back(u32::from(*addr) - first);
            }
        }
    }

    fn at(&self, offset: u32) -> Vec<IpAddr> {
        let v4 = Ipv4Addr::from(u32::from(self.v4.network()) + offset);
        let v6 = self
            .v6
            .map(|v6| Ipv6Addr::from(u128::from(v6.network()) + u128::from(offset)));
        std::iter::once(IpAddr::from(v4))
            .chain(v6.map(IpAddr::from))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(v4: &str) -> Pool {
        let v6 = "fd00:10:244::/64".parse().expect("a network");
        Pool::new(v4.parse().expect("a network"), Some(v6))
    }

    fn addrs(list: &[&str]) -> Option<Vec<IpAddr>> {
        Some(
            list.iter()
                .map(|addr| addr.parse().expect("an address"))
                .collect(),
        )
    }

    #[test]
    fn gives_nothing_when_all_are_taken() {
        let mut pool = pool("10.0.0.0/30");
        assert_eq!(pool.take(), addrs(&["10.0.0.2", "fd00:10:244::2"]));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_returned_address_is_the_last_to_be_given_again() {
        let mut pool = pool("10.0.0.0/29");
        let first = pool.take().expect("five are free");
        pool.give_back(&first);
        let order: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(order.len(), 5);
        assert_eq!(order.last(), Some(&first));
    }

    #[test]
    fn the_node_has_the_first_address_of_each_family() {
        assert_eq!(
            Some(pool("10.244.0.0/24").gateways()),
            addrs(&["10.244.0.1", "fd00:10:244::1"])
        );
    }
}
