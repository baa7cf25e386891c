//! Starts the parts of the node and follows its pods.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::{WatchStreamExt as _, watcher, watcher::Event};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::cluster::{self, ClusterView};
use super::etc::Resolver;
use super::events::Events;
use super::images::Images;
use super::network::{self, Network};
use super::pod::{self, Update};
use super::{Args, dns, kubelet_server, registration, scheduler, services, volumes};

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
    parts.spawn(services::run(
        network.clone(),
        node.name.clone(),
        cluster.clone(),
    ));
    parts.spawn(names.serve(cluster));
    let port = logs.port();
    parts.spawn(logs.serve(node.clone()));
    parts.spawn(registration::keep(node.clone(), port));
    if args.schedule {
        parts.spawn(scheduler::run(client, node.name.clone()));
    }
    tracing::info!(node = node.name, addr = %listen, logs_port = port, "node started");
    let ending = CancellationToken::new();
    let mut pods = Pods {
        node,
        ending: ending.clone(),
        tasks: JoinSet::new(),
        known: HashMap::new(),
    };
    tokio::select! {
        () = shutdown => (),
        () = Box::pin(pods.follow()) => (),
    }
    tracing::info!("node ends");
    ending.cancel();
    while pods.tasks.join_next().await.is_some() {}
    parts.shutdown().await;
    Ok(())
}

/// The pods of the node, each with its task.
struct Pods {
    node: Arc<Node>,
    ending: CancellationToken,
    /// Each returns the uid of its pod.
    tasks: JoinSet<String>,
    known: HashMap<String, watch::Sender<Update>>,
}

impl Pods {
    async fn follow(&mut self) {
        let api: Api<Pod> = Api::all(self.node.client.clone());
        let ours = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node.name));
        let mut events = pin!(watcher(api, ours).default_backoff());
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    match ended {
                        Ok(uid) => drop(self.known.remove(&uid)),
                        Err(error) => tracing::error!(%error, "a pod's task failed"),
                    }
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                None => return,
                Some(Err(error)) => {
                    tracing::warn!(%error, "watching the node's pods failed; trying again");
                }
                Some(Ok(Event::Apply(pod))) => self.update(pod, false),
                Some(Ok(Event::Delete(pod))) => self.update(pod, true),
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(Event::InitApply(pod))) => {
                    listed.extend(pod.uid());
                    self.update(pod, false);
                }
                Some(Ok(Event::InitDone)) => {
                    for (uid, updates) in &self.known {
                        if !listed.contains(uid) {
                            updates.send_modify(|update| update.gone = true);
                        }
                    }
                }
            }
        }
    }

    fn update(&mut self, pod: Pod, gone: bool) {
        let Some(uid) = pod.uid() else { return };
        if pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) != Some(&self.node.name) {
            return;
        }
        let update = Update {
            pod: Arc::new(pod),
            gone,
        };
        if let Some(updates) = self.known.get(&uid) {
            updates.send_replace(update);
        } else if !gone && !is_history(&update.pod) {
            let (updates, receiver) = watch::channel(update);
            self.known.insert(uid.clone(), updates);
            let (node, ending) = (self.node.clone(), self.ending.clone());
            self.tasks.spawn(async move {
                pod::run(node, receiver, ending).await;
                uid
            });
        }
    }
}

/// A pod that has ended, and that nobody wants to be removed, needs no node.
fn is_history(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none()
}
