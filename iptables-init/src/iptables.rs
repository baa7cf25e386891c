//! The commands of iptables, run, and what their failures mean.

mod failure;

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};
use std::{fmt, fs};

pub use failure::{Cause, Failure};

use crate::Family;
use crate::nat_table::NatTable;

/// How long legacy iptables waits for the lock that its processes share. The nft backend takes
/// none: the kernel orders its transactions.
const LOCK_WAIT_SECS: u32 = 5;

/// Where the lock goes if its default place can't be written, as in a container whose root file
/// system is read-only. Kubernetes gives all containers of a pod one `/dev/shm`, and these are
/// the ones that share the tables the lock is for.
const FALLBACK_LOCK_FILE: &str = "/dev/shm/xtables.lock";

/// The kernel subsystem that `iptables` programs. Rules in one are invisible to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// nf_tables, by `iptables-nft`.
    Nft,
    /// x_tables, by `iptables-legacy`.
    Legacy,
}

impl Backend {
    /// Both, the one to be preferred first.
    pub const ALL: [Self; 2] = [Self::Nft, Self::Legacy];

    /// `nft` or `legacy`, as in the names of the commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }

    /// Whether this is the version line of a command of this backend: since 1.8 they say
    /// `(nf_tables)` or `(legacy)`, and what says neither is older than nf_tables.
    fn is_of(self, version: &str) -> bool {
        version.contains("(nf_tables)") == (self == Self::Nft)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The commands that read and write the `nat` table of one family through one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iptables {
    /// Which addresses.
    pub family: Family,
    /// Which subsystem.
    pub backend: Backend,
}

impl Iptables {
    /// What the `nat` table of this network namespace holds.
    ///
    /// Legacy tables come into being when they are looked at, so this doesn't look before
    /// `/proc` says that there is one.
    ///
    /// # Errors
    /// If there is no such command, or it can't read the table.
    pub fn read(self) -> Result<NatTable, Failure> {
        if self.backend == Backend::Legacy && !has_legacy_nat_table(self.family) {
            return Ok(NatTable::default());
        }
        let saved = self.run("save", &["-t", "nat"], "")?;
        // Reported on stdout with exit code 0. Whoever wrote next to such rules couldn't find
        // his own again.
        match saved.lines().find(|line| line.contains("is incompatible")) {
            Some(line) => Err(Failure {
                iptables: self,
                command: self.command("save"),
                cause: Cause::IncompatibleTable,
                detail: line.trim_start_matches("# ").to_owned(),
            }),
            None => Ok(NatTable::parse(&saved)),
        }
    }

    /// Turns the `nat` table from one that holds `from` into one that holds `to`, in one
    /// transaction: all of it or nothing.
    ///
    /// # Errors
    /// If there is no such command, or the kernel refuses.
    pub fn change(self, from: &NatTable, to: &NatTable) -> Result<(), Failure> {
        let Some(transaction) = from.transaction_to(to) else {
            return Ok(());
        };
        let wait = format!("--wait={LOCK_WAIT_SECS}");
        self.run("restore", &["--noflush", &wait], &transaction)?;
        Ok(())
    }

    /// Whether the commands of this backend are there, under whichever name.
    pub fn is_installed(self) -> bool {
        self.run("save", &["--version"], "").is_ok()
    }

    /// The command as people know it, such as `iptables-nft-restore`.
    pub fn command(self, verb: &str) -> String {
        format!("{}-{}-{verb}", self.family.command(), self.backend)
    }

    /// Runs `iptables-nft-save` or the like, or plain `iptables-save` where only that is there
    /// and it is of this backend.
    fn run(self, verb: &str, args: &[&str], input: &str) -> Result<String, Failure> {
        let plain = format!("{}-{verb}", self.family.command());
        match self.attempt(&self.command(verb), args, input) {
            Err(failure) if failure.cause == Cause::NoBinary && self.owns(&plain) => {
                self.attempt(&plain, args, input)
            }
            result => result,
        }
    }

    /// Whether the command without a backend in its name is there, and is of this backend.
    fn owns(self, plain: &str) -> bool {
        execute(plain, &["--version"], "", None).is_ok_and(|output| {
            output.status.success() && self.backend.is_of(&String::from_utf8_lossy(&output.stdout))
        })
    }

    fn attempt(self, command: &str, args: &[&str], input: &str) -> Result<String, Failure> {
        let attempt = |lock_file| match execute(command, args, input, lock_file) {
            Ok(output) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(output) => Err(Failure::of_exit(self, command, &output, input)),
            Err(error) => Err(Failure::of_start(self, command, &error)),
        };
        match attempt(None) {
            Err(failure) if failure.cause == Cause::LockFile => attempt(Some(FALLBACK_LOCK_FILE)),
            result => result,
        }
    }
}

/// Runs a command to its end. Its input is small and read before it answers, so that writing all
/// of it first can't block.
fn execute(
    command: &str,
    args: &[&str],
    input: &str,
    lock_file: Option<&str>,
) -> io::Result<Output> {
    let mut child = Command::new(command)
        .args(args)
        .envs(lock_file.map(|path| ("XTABLES_LOCKFILE", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("its standard input is a pipe");
    match stdin.write_all(input.as_bytes()) {
        // It ended without reading on; its exit code and its words say why.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => drop(stdin),
    }
    child.wait_with_output()
}

/// Whether this network namespace has a legacy `nat` table, by the kernel's list of those in use.
///
/// Without the file there are no legacy tables in this kernel; where it can't be read, there may
/// be one.
fn has_legacy_nat_table(family: Family) -> bool {
    let list = match family {
        Family::V4 => "/proc/net/ip_tables_names",
        Family::V6 => "/proc/net/ip6_tables_names",
    };
    match fs::read_to_string(list) {
        Ok(names) => names.lines().any(|name| name == "nat"),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}
