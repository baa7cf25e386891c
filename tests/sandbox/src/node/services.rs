//! Service addresses: what kube-proxy does on a node.
//!
//! Each port of each ClusterIP has a chain that sends a new connection to one of its endpoints by
//! chance. The whole state is rendered on every change and applied in one transaction for each
//! family, so that no connection ever meets half of it. What connection tracking has decided stays:
//! a client that goes on sending datagrams from one port goes on reaching the same endpoint.
//! Session affinity, node ports and external addresses are not there.

mod render;
mod translation;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::node::cluster::ClusterView;
use crate::node::network::{Family, Network, Rules, restore_rules};
use render::Rendered;
pub(crate) use translation::cluster_ips;
use translation::{Translation, translations};

/// Changes come in bursts (a Service, then its slices); this is how long one is waited for.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// How long after a failure everything is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the rules at the newest state of `cluster`, until its sender is gone.
pub(crate) async fn run(network: Arc<Network>, node: String, mut cluster: ClusterView) {
    let mut applied = Applied::default();
    loop {
        let state = cluster.borrow_and_update().clone();
        if let Some(state) = state {
            let wanted = translations(&state, &node);
            if let Err(error) = applied.update(&network, &wanted).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "could not apply service rules"
                );
                // Whatever was applied, it is not known any more.
                applied.text.clear();
                tokio::time::sleep(RETRY).await;
                continue;
            }
        }
        if cluster.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// What is in the kernel.
#[derive(Default)]
struct Applied {
    /// Those with a route.
    addrs: BTreeSet<IpAddr>,
    chains: BTreeSet<String>,
    text: Vec<String>,
}

impl Applied {
    async fn update(&mut self, network: &Network, wanted: &[Translation]) -> anyhow::Result<()> {
        let addrs: BTreeSet<IpAddr> = wanted
            .iter()
            .map(|translation| translation.addr.ip())
            .filter(|addr| addr.is_ipv4() || network.has_ipv6())
            .collect();
        // Routes stay: the node's connections to a Service that is gone go on, as everyone's do.
        let added: Vec<IpAddr> = addrs.difference(&self.addrs).copied().collect();
        network.route_services(&added).await?;
        self.addrs.extend(added);
        let v4 = render::render(wanted, Family::V4);
        let v6 = render::render(wanted, Family::V6);
        let text = vec![v4.text.clone(), v6.text.clone()];
        if text == self.text {
            return Ok(());
        }
        let chains = &v4.chains | &v6.chains;
        let stale = &self.chains - &chains;
        let restore = async |rendered: &Rendered, family| {
            let text = rendered.with_removal_of(&stale);
            restore_rules(&Rules { family, text }).await
        };
        if network.has_ipv6() {
            tokio::try_join!(restore(&v4, Family::V4), restore(&v6, Family::V6))?;
        } else {
            restore(&v4, Family::V4).await?;
        }
        (self.chains, self.text) = (chains, text);
        tracing::debug!(ports = wanted.len(), "applied service rules");
        Ok(())
    }
}
