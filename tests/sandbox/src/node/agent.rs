//! Starts the parts of the node and ends them.

mod pods;

use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::cluster::{self, ClusterView};
use super::etc::Resolver;
use super::events::Events;
use super::images::Images;
use super::network::{self, Network};
use super::{Args, dns, kubelet_server, registration, scheduler, services, volumes};
use pods::Pods;

/// What all pods of the node share.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) name: String,
    /// When this agent started.
    pub(crate) started: Timestamp,
    /// A directory for each pod's logs.
    pub(crate) pods_dir: PathBuf,
    /// A directory for each pod's volumes.
    pub(crate) volumes_dir: PathBuf,
    pub(crate) images: Images,
    pub(crate) network: Arc<Network>,
    pub(crate) cluster: ClusterView,
    pub(crate) events: Events,
    /// The program that becomes containers.
    pub(crate) launcher: PathBuf,
    pub(crate) domain: String,
    /// The contents of the node's own resolv.conf.
    pub(crate) resolv_conf: String,
}

impl Node {
    /// Where pods look names up.
    pub(crate) fn resolver(&self) -> Resolver<'_> {
        Resolver {
            servers: self.network.gateways(),
            domain: &self.domain,
            node: &self.resolv_conf,
        }
    }
}

/// Runs the node until `shutdown` is done, and removes all traces then or when it can't start.
///
/// # Errors
/// What keeps it from starting.
pub(crate) async fn run(
    args: Args,
    client: Client,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let state = &args.state;
    std::fs::create_dir_all(state).with_context(|| format!("create {}", state.display()))?;
    let state = state.canonicalize().context("find the state directory")?;
    for dir in ["pods", "volumes"] {
        let dir = state.join(dir);
        volumes::remove(&dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    }
    let config = network::Config {
        pods_v4: args.pod_cidr,
        pods_v6: (!args.no_ipv6).then_some(args.pod_cidr_v6),
        node_v4: args.node_ip,
        node_v6: args.node_ip_v6,
        tag: tag(&state, &args.node_name),
    };
    let network = Arc::new(
        Network::open(config)
            .await
            .context("set up the node's network")?,
    );
    let ran = Box::pin(run_parts(
        &args,
        state.clone(),
        client,
        network.clone(),
        shutdown,
    ))
    .await;
    network.close().await;
    for dir in ["pods", "volumes"] {
        volumes::remove(&state.join(dir));
    }
    ran
}

/// The same for each start of the same node, and another for every other.
fn tag(state: &std::path::Path, name: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (state, name).hash(&mut hasher);
    format!("{:04x}", hasher.finish() & 0xffff)
}

async fn run_parts(
    args: &Args,
    state: PathBuf,
    client: Client,
    network: Arc<Network>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let own_program = std::env::current_exe().context("find this program")?;
    let (view, cluster) = watch::channel(None);
    let node = Arc::new(Node {
        name: args.node_name.clone(),
        started: Timestamp::now(),
        pods_dir: state.join("pods"),
        volumes_dir: state.join("volumes"),
        images: Images::new(args.images.clone()),
        events: Events::start(client.clone(), args.node_name.clone()),
        launcher: args.launcher.clone().unwrap_or(own_program),
        domain: args.cluster_domain.clone(),
        resolv_conf: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        client: client.clone(),
        cluster: cluster.clone(),
        network: network.clone(),
    });
    let names = dns::Server::bind(network.gateways(), &args.cluster_domain).await?;
    let listen: IpAddr = *network
        .node_addrs()
        .first()
        .context("the node has an address")?;
    let logs = kubelet_server::Server::bind(listen, args.kubelet_port).await?;
    let mut parts = JoinSet::new();
    parts.spawn(cluster::follow(client.clone(), view));
    parts.spawn(services::run(network.clone(), cluster.clone()));
    parts.spawn(names.serve(cluster));
    let port = logs.port();
    parts.spawn(logs.serve(node.clone()));
    parts.spawn(registration::keep(node.clone(), port));
    if args.schedule {
        parts.spawn(scheduler::run(client, node.name.clone()));
    }
    tracing::info!(node = node.name, addr = %listen, logs_port = port, "node started");
    let ending = CancellationToken::new();
    let mut pods = Pods::new(node, ending.clone());
    tokio::select! {
        () = shutdown => (),
        () = Box::pin(pods.follow()) => (),
    }
    tracing::info!("node ends");
    ending.cancel();
    pods.ended().await;
    parts.shutdown().await;
    Ok(())
}
