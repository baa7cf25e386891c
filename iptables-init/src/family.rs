use std::fmt;
use std::net::IpAddr;
use std::{panic, thread};

/// The address family that a set of rules is for: each has its own tables in the kernel and its
/// own commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4, programmed with `iptables`.
    V4,
    /// IPv6, programmed with `ip6tables`.
    V6,
}

impl Family {
    /// `ipv4` or `ipv6`, the form of log fields.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// The command that programs this family, without its backend: `iptables` or `ip6tables`.
    pub const fn command(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    /// Does the same for both families at once: each waits for commands or connections of its
    /// own. The first result is the one for IPv4.
    pub(crate) fn both<T: Send>(work: impl Fn(Self) -> T + Sync) -> [T; 2] {
        thread::scope(|scope| {
            let v6 = scope.spawn(|| work(Self::V6));
            let v4 = work(Self::V4);
            let v6 = v6
                .join()
                .unwrap_or_else(|panicked| panic::resume_unwind(panicked));
            [v4, v6]
        })
    }

    /// Whether `addr` belongs to this family.
    pub const fn includes(self, addr: IpAddr) -> bool {
        matches!(
            (self, addr),
            (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_))
        )
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
