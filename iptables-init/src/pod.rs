//! The circumstances of the pod that matter: its addresses, and this process's capabilities.

use std::fs;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

use crate::Family;

/// What the rules and their proof depend on in the network namespace they run in.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// The addresses by which the pod reaches others, and others it: neither loopback nor
    /// link-local ones.
    pub addresses: Vec<IpAddr>,
}

impl Pod {
    /// Looks at the interfaces. Where they can't be listed, the pod counts as having none.
    pub fn of_this_process() -> Self {
        let interfaces = getifaddrs().into_iter().flatten();
        let addresses = interfaces.filter_map(|interface| {
            let addr = interface.address?;
            let v4 = addr.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| addr.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        });
        Self {
            addresses: addresses.filter(|addr| reaches_others(*addr)).collect(),
        }
    }

    /// The first address of a family, if there is one.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter().copied();
        addresses.find(|addr| family.includes(*addr))
    }
}

fn reaches_others(addr: IpAddr) -> bool {
    let link_local = match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    };
    !(addr.is_loopback() || addr.is_unspecified() || link_local)
}

/// Which of the capabilities that iptables needs this process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// To change the tables at all.
    pub net_admin: bool,
    /// To open the raw socket through which legacy iptables talks to the kernel.
    pub net_raw: bool,
}

impl Capabilities {
    const NET_ADMIN: u32 = 12;
    const NET_RAW: u32 = 13;

    /// Reads them from `/proc`. If that fails, all are assumed: the kernel will tell.
    pub fn of_this_process() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let effective = effective(&status).unwrap_or(u64::MAX);
        Self {
            net_admin: effective >> Self::NET_ADMIN & 1 == 1,
            net_raw: effective >> Self::NET_RAW & 1 == 1,
        }
    }
}

/// The `CapEff` line of `/proc/<pid>/status` (`proc_pid_status(5)`): 64 bits in hexadecimal.
fn effective(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let bits = lines.find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(bits.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_capabilities_and_no_others() {
        let status = "Name:\tinit\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000001000\n";
        assert_eq!(effective(status), Some(1 << Capabilities::NET_ADMIN));
        for nonsense in ["", "CapEff:", "CapEff:\txyz\n", "CapEff: 1 2\n"] {
            assert_eq!(effective(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn loopback_and_link_local_addresses_reach_nobody() {
        for addr in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "169.254.3.4",
            "fe80::1",
            "0.0.0.0",
            "::",
        ] {
            let addr = addr.parse().expect("an address");
            assert!(!reaches_others(addr), "{addr}");
        }
        for addr in ["10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"] {
            let addr = addr.parse().expect("an address");
            assert!(reaches_others(addr), "{addr}");
        }
    }
}
