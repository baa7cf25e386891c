//! The node's network and a namespace for each pod in it.
//!
//! There is no bridge: a pod is on a point-to-point link of its own, with a default route to the
//! node and a route back, so that all its traffic passes the node's netfilter hooks, and connection
//! tracking sees both directions of a translated Service address. Both ends of a link know each
//! other's hardware address for good, so that no packet ever waits for a neighbour.

mod addresses;
mod commands;
mod rules;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ipnet::{Ipv4Net, Ipv6Net};
use parking_lot::Mutex;

use addresses::Pool;
pub(crate) use commands::restore_rules;
use commands::{ip, ip_batch, ip_batch_in, ip_output};
pub(crate) use rules::{Family, HAIRPIN_CHAIN, REFUSE_CHAIN, SERVICES_CHAIN};

/// The interface that carries the node's own addresses towards its pods.
const NODE_INTERFACE: &str = "netting0";

/// What pods send everything to; it only exists as a neighbour entry.
const POD_GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const POD_GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// What the node's network is made of.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) pods_v4: Ipv4Net,
    /// None on a node that gives its pods IPv4 only.
    pub(crate) pods_v6: Option<Ipv6Net>,
    pub(crate) node_v4: Option<Ipv4Addr>,
    pub(crate) node_v6: Option<Ipv6Addr>,
    /// Four letters that tell this agent's namespaces and interfaces from other agents' ones.
    pub(crate) tag: String,
}

/// The network of a running agent.
#[derive(Debug)]
pub(crate) struct Network {
    config: Config,
    gateways: Vec<IpAddr>,
    node_addrs: Vec<IpAddr>,
    pool: Mutex<Pool>,
}

/// A pod's place in the network.
#[derive(Clone, Debug)]
pub(crate) struct PodNetwork {
    /// The name of its namespace, as `ip netns` knows it.
    pub(crate) namespace: String,
    /// The IPv4 address first, as in `status.podIPs`.
    pub(crate) addrs: Vec<IpAddr>,
    link: String,
}

impl PodNetwork {
    /// The file that stands for the namespace.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }
}

impl Network {
    /// Sets the node's network up, after removing what an earlier agent left.
    ///
    /// # Errors
    /// When a command fails, with what it said.
    pub(crate) async fn open(mut config: Config) -> anyhow::Result<Self> {
        if config.pods_v6.is_some() && !has_ipv6() {
            tracing::warn!("this machine has IPv6 turned off, so that its pods get none");
            config.pods_v6 = None;
        }
        std::fs::create_dir_all("/run/netns").context("create /run/netns")?;
        remove_leftovers(&config.tag).await?;
        forward(config.pods_v6.is_some())?;
        let pool = Pool::new(config.pods_v4, config.pods_v6);
        let gateways = pool.gateways();
        let node_addrs = node_addrs(&config, &gateways).await?;
        ip_batch(&commands::node_links(
            NODE_INTERFACE,
            &config,
            &gateways,
            &node_addrs,
        ))
        .await?;
        restore_rules(Family::V4, &rules::base(config.pods_v4.into())).await?;
        if let Some(pods) = config.pods_v6 {
            restore_rules(Family::V6, &rules::base(pods.into())).await?;
        }
        Ok(Self {
            config,
            gateways,
            node_addrs,
            pool: Mutex::new(pool),
        })
    }

    /// The node's addresses towards its pods, where the DNS server listens; IPv4 first.
    pub(crate) fn gateways(&self) -> &[IpAddr] {
        &self.gateways
    }

    /// The addresses the node is known by in the cluster; IPv4 first.
    pub(crate) fn node_addrs(&self) -> &[IpAddr] {
        &self.node_addrs
    }

    pub(crate) fn has_ipv6(&self) -> bool {
        self.config.pods_v6.is_some()
    }

    /// Makes the namespace of the pod with this uid and links it to the node.
    ///
    /// # Errors
    /// When no address is left or a command fails; nothing is left behind then.
    pub(crate) async fn attach(&self, uid: &str) -> anyhow::Result<PodNetwork> {
        let addrs = self
            .pool
            .lock()
            .take()
            .context("no pod address is left; widen --pod-cidr")?;
        let pod = PodNetwork {
            namespace: self.namespace_name(uid),
            addrs,
            link: format!("nt{}{}", self.config.tag, short_id(uid)),
        };
        let made = async {
            ip(&["netns", "add", &pod.namespace]).await?;
            ip_batch(&commands::pod_link_outside(&pod, &self.gateways)).await?;
            ip_batch_in(&pod.namespace, &commands::pod_link_inside(&pod)).await
        };
        if let Err(error) = made.await {
            self.detach(&pod).await;
            return Err(error);
        }
        Ok(pod)
    }

    /// The file that stands for the namespace of the pod with this uid, if it has one.
    pub(crate) fn namespace_of(&self, uid: &str) -> PathBuf {
        Path::new("/run/netns").join(self.namespace_name(uid))
    }

    fn namespace_name(&self, uid: &str) -> String {
        format!("netting-{}-{}", self.config.tag, short_id(uid))
    }

    /// Removes a pod's namespace and link with what is left in them; its addresses are the last to
    /// be given out again.
    pub(crate) async fn detach(&self, pod: &PodNetwork) {
        commands::end_processes(&pod.namespace).await;
        for command in [["link", "del", &pod.link], ["netns", "del", &pod.namespace]] {
            if let Err(error) = ip(&command).await {
                tracing::debug!(
                    error = format!("{error:#}"),
                    "could not remove a part of a pod's network"
                );
            }
        }
        self.pool.lock().give_back(&pod.addrs);
    }

    /// Routes the Service addresses to the node's interface, for without a route the node's own
    /// connections to them would fail before they reach the rules.
    ///
    /// # Errors
    /// When `ip` fails, with what it said.
    pub(crate) async fn route_services(&self, addrs: &[IpAddr]) -> anyhow::Result<()> {
        let routes = commands::service_routes(NODE_INTERFACE, &self.gateways, addrs);
        ip_batch(&routes).await
    }

    /// Removes everything that [`Network::open`] made.
    pub(crate) async fn close(&self) {
        if let Err(error) = remove_leftovers(&self.config.tag).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "could not remove the node's network"
            );
        }
    }
}

/// Whether the machine takes part in IPv6 at all.
fn has_ipv6() -> bool {
    let off = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    off.is_ok_and(|off| off.trim() == "0")
}

/// Turns forwarding on, which a node needs and an ordinary machine has off. It stays on: others may
/// have come to need it meanwhile.
fn forward(ipv6: bool) -> anyhow::Result<()> {
    let v6 = "/proc/sys/net/ipv6/conf/all/forwarding";
    for path in ["/proc/sys/net/ipv4/ip_forward", v6] {
        if path != v6 || ipv6 {
            std::fs::write(path, "1").with_context(|| format!("write {path}"))?;
        }
    }
    Ok(())
}

/// Sixteen and a half million pods: enough to be unique, short enough for an interface's name.
fn short_id(uid: &str) -> String {
    let digits: String = uid.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chars().take(8).collect()
}

async fn remove_leftovers(tag: &str) -> anyhow::Result<()> {
    let namespaces = ip_output(&["netns", "list"]).await?;
    let prefix = format!("netting-{tag}-");
    for name in namespaces
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        if let Some(id) = name.strip_prefix(&prefix) {
            commands::end_processes(name).await;
            // May be gone with its namespace already.
            let _ = ip(&["link", "del", &format!("nt{tag}{id}")]).await;
            ip(&["netns", "del", name]).await?;
        }
    }
    let _ = ip(&["link", "del", NODE_INTERFACE]).await;
    commands::remove_unreachable().await;
    commands::remove_rules().await
}

/// What was asked for; otherwise what the default route goes out from; otherwise the gateways.
async fn node_addrs(config: &Config, gateways: &[IpAddr]) -> anyhow::Result<Vec<IpAddr>> {
    let mut addrs = Vec::new();
    for gateway in gateways {
        let (asked, probe) = match gateway {
            IpAddr::V4(_) => (config.node_v4.map(IpAddr::from), "1.1.1.1"),
            IpAddr::V6(_) => (config.node_v6.map(IpAddr::from), "2606:4700::1"),
        };
        let found = match asked {
            Some(addr) => Some(addr),
            None => commands::route_source(probe).await,
        };
        addrs.push(found.unwrap_or(*gateway));
    }
    Ok(addrs)
}
