#[cfg(test)]
mod tests;

use std::io;
use std::process::Output;

use crate::iptables::{Backend, Iptables};
use crate::pod::Capabilities;

/// Why a command that was to read or write a table didn't; [`Failure::remedy`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{command}: {detail}")]
pub struct Failure {
    /// What was to be read or written.
    pub iptables: Iptables,
    /// The command that was run.
    pub command: String,
    /// What kind of failure it is.
    pub cause: Cause,
    /// What the command said, on one line.
    pub detail: String,
}

/// The kinds of failure that are told apart because their remedies differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The command isn't in `PATH`.
    NoBinary,
    /// The kernel says EPERM or EACCES.
    NotPermitted,
    /// The kernel has no `nat` table for this backend, and could load none.
    NoNatTable,
    /// The kernel lacks a match or target, by its name in rules, such as `owner`.
    NoExtension(String),
    /// Somebody else kept the xtables lock for as long as we wait.
    Locked,
    /// The file of the xtables lock can't be opened.
    LockFile,
    /// The table holds rules of the `nft` tool that `iptables-nft` can't read.
    IncompatibleTable,
    /// Anything else; `detail` is all there is to know.
    Unknown,
}

impl Failure {
    /// The command could not be started.
    pub(super) fn of_start(iptables: Iptables, command: &str, error: &io::Error) -> Self {
        let (cause, detail) = match error.kind() {
            io::ErrorKind::NotFound => (Cause::NoBinary, "no such command in PATH".to_owned()),
            _ => (Cause::Unknown, format!("could not be run: {error}")),
        };
        Self {
            iptables,
            command: command.to_owned(),
            cause,
            detail,
        }
    }

    /// The command ended with an error, after being given `input`.
    pub(super) fn of_exit(iptables: Iptables, command: &str, output: &Output, input: &str) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let mut cause = classify(&stderr);
        // Legacy iptables says the same words where there is no table and where it may not open
        // its raw socket.
        let may = Capabilities::of_this_process();
        if cause == Cause::NoNatTable && iptables.backend == Backend::Legacy && !may.net_raw {
            cause = Cause::NotPermitted;
        }
        let mut detail = on_one_line(&stderr);
        if detail.is_empty() {
            detail = output.status.to_string();
        }
        if let Some(line) = line_at_fault(&stderr, input) {
            detail = format!("{detail} [{line}]");
        }
        Self {
            iptables,
            command: command.to_owned(),
            cause,
            detail,
        }
    }

    /// What the reader can do about it.
    pub fn remedy(&self) -> String {
        let Iptables { family, backend } = self.iptables;
        match &self.cause {
            Cause::NoBinary => "put the iptables package into the image, and its directory \
            (usually /usr/sbin) into PATH"
                .to_owned(),
            Cause::NotPermitted if backend == Backend::Legacy => {
                "give the container the capabilities NET_ADMIN and NET_RAW".to_owned()
            }
            Cause::NotPermitted => "give the container the capability NET_ADMIN".to_owned(),
            Cause::NoNatTable => {
                let module = match backend {
                    Backend::Nft => "nft_chain_nat nft_compat".to_owned(),
                    Backend::Legacy => format!("{}_nat", family.command().trim_end_matches('s')),
                };
                format!("load the kernel's nat table on the node: modprobe -a {module}")
            }
            Cause::NoExtension(name) => format!(
                "load it on the node (modprobe xt_{name}), and have the image contain the \
             libraries of iptables"
            ),
            Cause::Locked => {
                "another process keeps changing iptables in this pod; find it, or let \
            the container be restarted"
                    .to_owned()
            }
            Cause::LockFile => "make /run or /dev/shm writable in the container".to_owned(),
            Cause::IncompatibleTable => "the nft tool was used on this pod's nat table; use \
            --backend=legacy, or move those rules to a table of another name"
                .to_owned(),
            Cause::Unknown => "run it with --dry-run to see what was tried".to_owned(),
        }
    }
}

/// What the words of `iptables` mean; they are the same since 1.8.0 unless noted.
fn classify(stderr: &str) -> Cause {
    let says = |words: &str| stderr.contains(words);
    if says("xtables lock") && !says("open lock file") {
        Cause::Locked
    } else if says("open lock file") {
        Cause::LockFile
    } else if says("Permission denied") || says("Operation not permitted") {
        Cause::NotPermitted
    } else if let Some(name) = missing_extension(stderr) {
        Cause::NoExtension(name)
    } else if says("Table does not exist")
        || says("unable to initialize table")
        // nf_tables itself is missing from the kernel.
        || says("Failed to initialize nft")
        || says("Could not fetch rule set generation id")
        // nf_tables is there, but its nat chain type isn't.
        || says("CHAIN_ADD failed (No such file or directory)")
        || says("TABLE_ADD failed")
    {
        Cause::NoNatTable
    } else if says("is incompatible") || says("CHAIN_ADD failed (Operation not supported)") {
        Cause::IncompatibleTable
    } else {
        Cause::Unknown
    }
}

/// The name in `Extension owner revision 1 not supported, missing kernel module?`, or in
/// ``Couldn't load match `owner'``.
fn missing_extension(stderr: &str) -> Option<String> {
    let after = |words: &str| stderr.split_once(words).map(|(_, rest)| rest);
    let name = after("Extension ")
        .filter(|rest| rest.contains("missing kernel module"))
        .or_else(|| after("Couldn't load match `"))
        .or_else(|| after("Couldn't load target `"))?;
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    Some(name[..end.unwrap_or(name.len())].to_owned())
}

/// The words without the line ends, and without the invitation to read the manual.
fn on_one_line(stderr: &str) -> String {
    const CHARS_MAX: usize = 400;
    let lines = stderr.lines().map(str::trim);
    let telling = lines.filter(|line| {
        !line.is_empty() && !line.starts_with("Try `") && !line.starts_with("Error occurred at")
    });
    let joined = telling.collect::<Vec<_>>().join(" / ");
    joined.chars().take(CHARS_MAX).collect()
}

/// The line of `input` that the first `line N` in `stderr` is about.
fn line_at_fault<'a>(stderr: &str, input: &'a str) -> Option<&'a str> {
    let number = stderr
        .split_once("at line: ")
        .or_else(|| stderr.split_once("line "))?
        .1;
    let end = number.find(|c: char| !c.is_ascii_digit());
    let number: usize = number[..end.unwrap_or(number.len())].parse().ok()?;
    input.lines().nth(number.checked_sub(1)?)
}
