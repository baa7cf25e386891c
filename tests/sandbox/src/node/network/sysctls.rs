//! Forwarding, which a node needs and an ordinary machine has off.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The values that were there before.
#[derive(Debug)]
pub(super) struct Sysctls {
    before: Vec<(PathBuf, String)>,
}

impl Sysctls {
    /// Turns forwarding on in the network namespace the agent runs in.
    ///
    /// # Errors
    /// When /proc/sys can't be written.
    pub(super) fn set(ipv6: bool) -> anyhow::Result<Self> {
        let mut before = Vec::new();
        let mut wanted = vec!["net/ipv4/ip_forward"];
        if ipv6 {
            wanted.push("net/ipv6/conf/all/forwarding");
        }
        for name in wanted {
            let path = Path::new("/proc/sys").join(name);
            let old = std::fs::read_to_string(&path).with_context(|| {
                format!(
                    "read {}; without IPv6 on the machine, pass --no-ipv6",
                    path.display()
                )
            })?;
            if old.trim() != "1" {
                std::fs::write(&path, "1").with_context(|| format!("write {}", path.display()))?;
                before.push((path, old));
            }
        }
        Ok(Self { before })
    }

    pub(super) fn restore(&self) {
        for (path, value) in &self.before {
            if let Err(error) = std::fs::write(path, value) {
                tracing::warn!(%error, path = %path.display(), "could not restore a sysctl");
            }
        }
    }
}
