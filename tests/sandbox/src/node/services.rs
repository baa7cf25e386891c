//! Service addresses: what kube-proxy does on a node.
//!
//! A new connection to a port of a ClusterIP goes to one of its endpoints by chance. The whole state
//! is rendered on every change and applied in one transaction for each family, so that no connection
//! ever meets half of it. What connection tracking has decided stays: a client that goes on sending
//! datagrams from one port goes on reaching the same endpoint. Session affinity, traffic policies,
//! node ports and external addresses are not there.

mod render;
mod translation;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::node::cluster::ClusterView;
use crate::node::network::{Family, Network, restore_rules};
pub(crate) use translation::cluster_ips;
use translation::{Translation, translations};

/// Changes come in bursts (a Service, then its slices); this is how long one is waited for.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// How long after a failure everything is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the rules at the newest state of `cluster`, until its sender is gone.
pub(crate) async fn run(network: Arc<Network>, mut cluster: ClusterView) {
    let mut routed = BTreeSet::new();
    let mut applied = Vec::new();
    loop {
        let state = cluster.borrow_and_update().clone();
        let wanted = state.map(|state| translations(&state)).unwrap_or_default();
        if wanted != applied {
            if let Err(error) = apply(&network, &wanted, &mut routed).await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "could not apply service rules"
                );
                tokio::time::sleep(RETRY).await;
                continue;
            }
            tracing::debug!(ports = wanted.len(), "applied service rules");
            applied = wanted;
        }
        if cluster.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

async fn apply(
    network: &Network,
    wanted: &[Translation],
    routed: &mut BTreeSet<IpAddr>,
) -> anyhow::Result<()> {
    let addrs = wanted.iter().map(|translation| translation.addr.ip());
    let addrs = addrs.filter(|addr| addr.is_ipv4() || network.has_ipv6());
    // Routes stay: the node's connections to a Service that is gone go on, as everyone's do.
    let added: Vec<IpAddr> = addrs.filter(|addr| !routed.contains(addr)).collect();
    network.route_services(&added).await?;
    routed.extend(added);
    for family in [Family::V4, Family::V6] {
        if family == Family::V4 || network.has_ipv6() {
            restore_rules(family, &render::render(wanted, family)).await?;
        }
    }
    Ok(())
}
