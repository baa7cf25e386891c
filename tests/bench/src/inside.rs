//! What the proxies do with their time, looked at from outside, in runs that count for nothing
//! else: strace and perf slow what they look at.

use std::{fmt, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Serialize;

use crate::{
    args::Plan,
    load::saturating,
    network,
    process::Process,
    scenario::Scenario,
    subject::{Kind, Subject},
};

/// The kernel, the proxy, and the C library.
const DSO_LINES: usize = 3;
/// Lines of a profile that are shown; all of it stays in its file.
const PROFILE_LINES: usize = 25;
/// Samples a second, next to no round number that something in the proxy may beat at.
const SAMPLES_PER_SECOND: u32 = 997;

/// What was seen of one proxy.
#[derive(Debug, Serialize)]
pub(crate) struct Extra {
    subject: &'static str,
    proxy: String,
    /// What follows.
    what: &'static str,
    lines: Vec<String>,
}

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}, {}:", self.proxy, self.what)?;
        self.lines
            .iter()
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Whatever of it the plan asks for.
pub(crate) fn look(
    subjects: &[Subject<'_>],
    scenario: Scenario,
    plan: &Plan,
    logs: &Path,
) -> anyhow::Result<Vec<Extra>> {
    let mut seen = Vec::new();
    for subject in subjects.iter().filter(|s| s.kind != Kind::Direct) {
        if plan.strace {
            seen.extend(count(subject, scenario, plan.duration, logs)?);
        }
        // Envoy comes without symbols.
        if plan.profile && subject.kind == Kind::Netting {
            seen.extend(profile(subject, scenario, plan.duration, logs)?);
        }
    }
    Ok(seen)
}

/// System calls for each request.
fn count(
    subject: &Subject<'_>,
    scenario: Scenario,
    duration: Duration,
    logs: &Path,
) -> anyhow::Result<Vec<Extra>> {
    let file = |proxy: &Process| logs.join(format!("strace-{}-{scenario}.txt", proxy.name));
    let mut watchers = Vec::new();
    for proxy in &subject.proxies {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "strace", "-f", "-c", "-S", "calls"]);
        command.arg("-o").arg(file(proxy));
        command.args(["-p", &proxy.id().to_string()]);
        watchers.push(attach("strace", proxy, &mut command, logs)?);
    }
    let saturated = saturating::run(subject.client, subject.target, scenario, duration)?;
    watchers.into_iter().try_for_each(detach)?;
    let mut seen = Vec::new();
    for proxy in &subject.proxies {
        let file = file(proxy);
        let table = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        seen.push(Extra {
            subject: subject.kind.as_str(),
            proxy: proxy.name.clone(),
            what: "system calls for each request",
            lines: per_request(&table, saturated.requests),
        });
    }
    Ok(seen)
}

/// Rows of `strace -c` (% time, seconds, usecs/call, calls, errors or nothing, name), those
/// that don't happen once in a hundred requests left out.
#[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 calls")]
fn per_request(table: &str, requests: u64) -> Vec<String> {
    let rows = table.lines().filter_map(|row| {
        let words: Vec<_> = row.split_whitespace().collect();
        let calls: u64 = words.get(3)?.parse().ok()?;
        let each = calls as f64 / requests as f64;
        let name = words.last()?;
        (each >= 0.01).then(|| format!("{each:>8.2} {name}"))
    });
    rows.collect()
}

/// Where samples fell, from both proxies.
fn profile(
    subject: &Subject<'_>,
    scenario: Scenario,
    duration: Duration,
    logs: &Path,
) -> anyhow::Result<Vec<Extra>> {
    let mut seen = Vec::new();
    for proxy in &subject.proxies {
        let data = logs.join(format!("perf-{}-{scenario}.data", proxy.name));
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig=KILL",
            "perf",
            "record",
            "-e",
            "cpu-clock",
            "-g",
        ]);
        command.args(["-F", &SAMPLES_PER_SECOND.to_string()]);
        command
            .args(["-p", &proxy.id().to_string(), "-o"])
            .arg(&data);
        let watcher = attach("perf", proxy, &mut command, logs)?;
        saturating::run(subject.client, subject.target, scenario, duration)?;
        detach(watcher)?;
        let mut lines = perf_report(&data, "dso", DSO_LINES)?;
        lines.extend(perf_report(&data, "sym", PROFILE_LINES)?);
        seen.push(Extra {
            subject: subject.kind.as_str(),
            proxy: proxy.name.clone(),
            what: "where samples fell",
            lines,
        });
    }
    Ok(seen)
}

/// The first lines of `perf report`, by program and library or by function.
fn perf_report(data: &Path, by: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new("perf");
    command.args(["report", "--stdio", "--no-children", "-g", "none"]);
    command.args(["--percent-limit=0.5", "--sort", by, "-i"]);
    let report = network::output(command.arg(data))?;
    let lines = report.lines().filter(|line| line.contains('%'));
    Ok(lines.take(count).map(str::to_owned).collect())
}

fn attach(
    tool: &str,
    proxy: &Process,
    command: &mut Command,
    logs: &Path,
) -> anyhow::Result<Process> {
    Process::start(&format!("{tool}-{}", proxy.name), command, logs)
}

/// Lets it write what it saw.
fn detach(watcher: Process) -> anyhow::Result<()> {
    let pid = Pid::from_raw(watcher.id().cast_signed());
    if let Err(error) = kill(pid, Signal::SIGINT) {
        bail!("could not end {}: {error}", watcher.name);
    }
    watcher.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_calls_are_counted_for_each_request_and_rare_ones_left_out() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ------------------
 60.00    0.300000           3      2000           writev
 39.00    0.200000           2      1000       500 recvfrom
  1.00    0.000010           1         3           futex
------ ----------- ----------- --------- --------- ------------------
100.00    0.500010           2      3003       500 total
";
        let expected = ["    2.00 writev", "    1.00 recvfrom", "    3.00 total"];
        assert_eq!(per_request(table, 1000), expected);
    }
}
