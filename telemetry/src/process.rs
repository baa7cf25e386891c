//! What the process itself is and uses.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Metrics, labels::labels, registry::Value, snapshot::Descriptor};

const BUILD: Descriptor = Descriptor {
    name: "netting.build.info",
    unit: "",
    description: "What this process is; always 1",
};
const MEMORY: Descriptor = Descriptor {
    name: "process.memory.usage",
    unit: "By",
    description: "Resident memory of the process",
};

/// Adds what each process says of itself. It is read when a snapshot is taken, and
/// costs nothing else.
pub(crate) fn register(metrics: &Metrics, part: &'static str, version: &'static str) {
    let build = labels(&[("part", part), ("version", version)]);
    metrics.ask(BUILD, build, || Some(Value::Gauge(1.0)));
    metrics.ask(MEMORY, crate::labels::none(), || {
        let bytes = resident_memory_bytes()?;
        usize::try_from(bytes).ok().map(Value::gauge)
    });
}

/// Resident memory of this process in bytes; `None` where /proc does not tell.
#[must_use]
pub fn resident_memory_bytes() -> Option<u64> {
    // proc(5): the second field of statm is the resident set, in pages.
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size_bytes())
}

/// A moment as gauges have it.
pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

#[allow(
    unsafe_code,
    reason = "sysconf is a plain query, and std has no wrapper"
)]
fn page_size_bytes() -> u64 {
    // SAFETY: sysconf takes an integer and touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_uses_memory() {
        let bytes = resident_memory_bytes().expect("Linux has /proc");
        assert!(bytes > 64 * 1024, "{bytes}");
    }
}
