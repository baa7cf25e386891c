//! Gives up what a container's process isn't to have.

use std::collections::HashSet;
use std::str::FromStr as _;

use anyhow::Context as _;
use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};

/// Who a container's process is and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, the pod's `fsGroup` among them.
    pub(crate) groups: Vec<u32>,
    /// The bounding set, as `CAP_…` names; `None` means all there are (a privileged container).
    pub(crate) capabilities: Option<Vec<String>>,
    pub(crate) no_new_privileges: bool,
}

impl Credentials {
    /// Takes these on in the calling process, which must be root. The capabilities take effect
    /// with the next exec: root gets all in the bounding set, everyone else none, because the
    /// ambient set is empty, as it is under containerd.
    ///
    /// # Errors
    /// When a capability has no such name or the kernel refuses.
    pub(crate) fn assume(&self) -> anyhow::Result<()> {
        if let Some(names) = &self.capabilities {
            let kept = parse(names)?;
            for capability in caps::runtime::thread_all_supported().difference(&kept) {
                caps::drop(None, CapSet::Bounding, *capability)
                    .with_context(|| format!("drop {capability}"))?;
            }
        }
        caps::clear(None, CapSet::Ambient).context("clear the ambient capabilities")?;
        caps::clear(None, CapSet::Inheritable).context("clear the inheritable capabilities")?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).context("set the supplementary groups")?;
        let (gid, uid) = (Gid::from_raw(self.gid), Uid::from_raw(self.uid));
        setresgid(gid, gid, gid).with_context(|| format!("become group {gid}"))?;
        setresuid(uid, uid, uid).with_context(|| format!("become user {uid}"))?;
        if self.no_new_privileges {
            prctl::set_no_new_privs().context("forbid new privileges")?;
        }
        // A change of user clears it.
        prctl::set_pdeathsig(Signal::SIGKILL).context("tie the process to its parent's life")
    }
}

fn parse(names: &[String]) -> anyhow::Result<HashSet<Capability>> {
    names
        .iter()
        .map(|name| {
            Capability::from_str(name)
                .with_context(|| format!("{name} is no capability of this kernel's"))
        })
        .collect()
}
