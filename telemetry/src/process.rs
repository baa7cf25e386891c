//! What the process itself uses, under the names that Prometheus' client
//! libraries agree on.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{gauge::ConstGauge, info::Info},
    registry::{Registry, Unit},
};

/// Adds `netting_build_info` and the process's memory.
pub(crate) fn register(registry: &mut Registry, part: &'static str, version: &'static str) {
    let build = Info::new([("part", part), ("version", version)]);
    registry.register("netting_build", "What this process is", build);
    registry.register_collector(Box::new(Memory));
}

/// Reads its value when it is scraped, and costs nothing else.
#[derive(Debug)]
struct Memory;

impl Collector for Memory {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(bytes) = resident_memory_bytes() else {
            return Ok(());
        };
        let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        let metric = encoder.encode_descriptor(
            "process_resident_memory",
            "Resident memory of the process",
            Some(&Unit::Bytes),
            gauge.metric_type(),
        )?;
        gauge.encode(metric)
    }
}

/// Resident memory of this process in bytes; `None` where /proc does not tell.
#[must_use]
pub fn resident_memory_bytes() -> Option<u64> {
    // proc(5): the second field of statm is the resident set, in pages.
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size_bytes())
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
