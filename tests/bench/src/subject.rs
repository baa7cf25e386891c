//! Who is measured: the way from a client to nginx, with the proxies on it.

use std::{net::SocketAddr, time::Duration};

use crate::{network::Pod, process::Process};

/// What is on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Direct,
    /// Two sidecars, as they are injected.
    Netting,
    /// Two Envoys.
    Envoy,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Netting => "netting",
            Kind::Envoy => "envoy",
        }
    }
}

/// A way to nginx.
pub(crate) struct Subject<'a> {
    pub(crate) kind: Kind,
    pub(crate) client: &'a Pod,
    /// What the client connects to.
    pub(crate) target: SocketAddr,
    /// In the order in which a request passes them.
    pub(crate) proxies: Vec<Process>,
}

impl Subject<'_> {
    /// What all proxies have used so far.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        self.proxies.iter().map(Process::cpu_time).sum()
    }

    /// The greatest of the proxies' memories that `which` picks; 0 without proxies.
    pub(crate) fn memory(&self, which: fn(crate::process::Memory) -> u64) -> anyhow::Result<u64> {
        let memories = self.proxies.iter().map(|proxy| proxy.memory().map(which));
        let memories: Vec<u64> = memories.collect::<Result<_, _>>()?;
        Ok(memories.into_iter().max().unwrap_or_default())
    }
}
