mod cidrs;
mod ports;
#[cfg(test)]
mod tests;

use std::fmt;

pub use cidrs::Cidrs;
pub use ports::{PortRange, PortSet};

use crate::args::{Args, Command};
use crate::iptables::Backend;

/// What is to be done and with which rules: [`Args`] that have been checked.
///
/// Made only by `TryFrom<&Args>`, so that whoever holds one need check nothing: ports are never
/// 0, the three listening ports differ, ranges run forwards, networks have no stray bits.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) outbound_port: u16,
    pub(crate) inbound_port: u16,
    pub(crate) admin_port: u16,
    pub(crate) proxy_uid: u32,
    pub(crate) skip_inbound_ports: PortSet,
    pub(crate) skip_outbound_ports: PortSet,
    pub(crate) skip_inbound_cidrs: Cidrs,
    pub(crate) skip_outbound_cidrs: Cidrs,
    /// The backend to use; `None` to find the one that works.
    pub(crate) backend: Option<Backend>,
    pub(crate) action: Action,
    pub(crate) dry_run: bool,
}

/// What one run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Apply { then_verify: bool },
    Cleanup,
    Verify,
}

impl Action {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Apply { .. } => "apply",
            Self::Cleanup => "cleanup",
            Self::Verify => "verify",
        }
    }
}

/// Everything that is wrong with a set of [`Args`], at least one [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub Vec<Problem>);

/// One thing that is wrong with one flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The flag, such as `--outbound-port`; its variable is meant as well.
    pub flag: &'static str,
    /// A sentence that says what is wrong and what would be right.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Problem { flag, reason }) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{flag}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl TryFrom<&Args> for Options {
    type Error = Invalid;

    fn try_from(args: &Args) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let outbound_port = check.port("--outbound-port", &args.outbound_port, 15001);
        let inbound_port = check.port("--inbound-port", &args.inbound_port, 15006);
        let admin_port = check.port("--admin-port", &args.admin_port, 15020);
        check.differ(&[
            ("--outbound-port", outbound_port),
            ("--inbound-port", inbound_port),
            ("--admin-port", admin_port),
        ]);
        let cleanup = check.bool("--cleanup", &args.cleanup);
        let no_verify = check.bool("--no-verify", &args.no_verify);
        let options = Self {
            outbound_port,
            inbound_port,
            admin_port,
            proxy_uid: check.uid("--proxy-uid", &args.proxy_uid, 4150),
            skip_inbound_ports: check.ports("--skip-inbound-ports", &args.skip_inbound_ports),
            skip_outbound_ports: check.ports("--skip-outbound-ports", &args.skip_outbound_ports),
            skip_inbound_cidrs: check.cidrs("--skip-inbound-cidrs", &args.skip_inbound_cidrs),
            skip_outbound_cidrs: check.cidrs("--skip-outbound-cidrs", &args.skip_outbound_cidrs),
            backend: check.backend("--backend", &args.backend),
            action: match args.command {
                Some(Command::Verify) => Action::Verify,
                None if cleanup => Action::Cleanup,
                None => Action::Apply {
                    then_verify: !no_verify,
                },
            },
            dry_run: check.bool("--dry-run", &args.dry_run),
        };
        if cleanup && options.action == Action::Verify {
            let reason = "verify only looks; run it without --cleanup".to_owned();
            check.problem("--cleanup", reason);
        }
        if check.0.is_empty() {
            Ok(options)
        } else {
            Err(Invalid(check.0))
        }
    }
}

/// Collects problems while values are read; a value that is wrong becomes its default, so that
/// the reading can go on.
#[derive(Default)]
struct Check(Vec<Problem>);

impl Check {
    fn problem(&mut self, flag: &'static str, reason: String) {
        self.0.push(Problem { flag, reason });
    }

    fn take<T>(&mut self, flag: &'static str, read: Result<T, String>, default: T) -> T {
        read.unwrap_or_else(|reason| {
            self.problem(flag, reason);
            default
        })
    }

    fn port(&mut self, flag: &'static str, text: &str, default: u16) -> u16 {
        match text.trim() {
            "" => default,
            text => self.take(flag, ports::port(text), default),
        }
    }

    fn uid(&mut self, flag: &'static str, text: &str, default: u32) -> u32 {
        match text.trim() {
            "" => default,
            text => self.take(flag, uid(text), default),
        }
    }

    fn ports(&mut self, flag: &'static str, list: &str) -> PortSet {
        PortSet::parse(list).unwrap_or_else(|reasons| {
            reasons.into_iter().for_each(|r| self.problem(flag, r));
            PortSet::default()
        })
    }

    fn cidrs(&mut self, flag: &'static str, list: &str) -> Cidrs {
        Cidrs::parse(list).unwrap_or_else(|reasons| {
            reasons.into_iter().for_each(|r| self.problem(flag, r));
            Cidrs::default()
        })
    }

    fn backend(&mut self, flag: &'static str, text: &str) -> Option<Backend> {
        let read = match text.trim() {
            "" | "auto" => Ok(None),
            "nft" => Ok(Some(Backend::Nft)),
            "legacy" => Ok(Some(Backend::Legacy)),
            other => Err(format!(
                "{} is not a backend; there are auto, nft and legacy",
                quoted(other)
            )),
        };
        self.take(flag, read, None)
    }

    fn bool(&mut self, flag: &'static str, text: &str) -> bool {
        let read = match text.trim().to_ascii_lowercase().as_str() {
            "" | "false" | "0" | "no" | "off" => Ok(false),
            "true" | "1" | "yes" | "on" => Ok(true),
            _ => Err(format!("{} is neither true nor false", quoted(text))),
        };
        self.take(flag, read, false)
    }

    /// Two listeners can't share a port, and the admin port must not lead into the proxy.
    fn differ(&mut self, ports: &[(&'static str, u16)]) {
        for (i, (flag, port)) in ports.iter().enumerate() {
            if let Some((taken_by, _)) = ports[..i].iter().find(|(_, other)| other == port) {
                let reason = format!("port {port} is already the one of {taken_by}");
                self.problem(flag, reason);
            }
        }
    }
}

/// Reads the sidecar's user id. The highest 32-bit number means "no user" to the kernel
/// (`setreuid(2)`), and 0 would exempt every application that runs as root.
fn uid(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(0) => Err(
            "the user id 0 would let every application that runs as root go past the sidecar; \
             run the sidecar as a user of its own, such as 4150"
                .to_owned(),
        ),
        Ok(uid) if digits && uid != u32::MAX => Ok(uid),
        _ => Err(format!(
            "{} is not a user id; a user id is a number from 1 to {}",
            quoted(text),
            u32::MAX - 1
        )),
    }
}

/// `text` in quotes, cut to a length that a log line bears.
fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
