//! The node agent: runs the pods that are bound to its node as processes, in network namespaces
//! of their own, and speaks to nothing but a Kubernetes API, whichever that is.
//!
//! In reading order:
//! - `agent` starts the parts below and follows the node's pods;
//! - `pod` is one pod's life, from its place on the node over its containers to its last status;
//! - `containers` runs one container through the `launcher`, which makes its namespaces, root
//!   file system and privileges; `env`, `fields`, `etc`, `security` and `volumes` say what
//!   is in them, `images` where its binaries come from;
//! - `probes` asks containers how they are;
//! - `network` links the pods to the node, `services` translates Service addresses as kube-proxy
//!   does, `dns` answers for their names, both from one view of the `cluster`;
//! - `registration` keeps the Node object, `scheduler` binds pods where nobody else does,
//!   `kubelet_server` serves the `logs` and `portforward`, `events` tells what happens.

mod agent;
mod cluster;
mod containers;
mod dns;
mod env;
mod etc;
mod events;
mod fields;
pub(crate) mod images;
mod kubelet_server;
pub mod launcher;
mod logs;
mod network;
mod pod;
mod portforward;
mod probes;
mod registration;
mod scheduler;
mod security;
mod services;
mod volumes;

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ipnet::{Ipv4Net, Ipv6Net};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::signal::unix::{SignalKind, signal};

use images::Image;

/// Options of `netting-sandbox node`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The kubeconfig of the API server whose node this is.
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// The node's name in the cluster.
    #[arg(long, default_value = "netting-box")]
    pub(crate) node_name: String,
    /// A directory for logs and volumes; what an earlier agent left in it is removed.
    #[arg(long)]
    pub(crate) state: PathBuf,
    /// An image and the directory that its containers see as /netting; may be repeated.
    #[arg(long = "image", value_name = "NAME=DIR", value_parser = images::parse)]
    pub(crate) images: Vec<Image>,
    /// The network that pods' IPv4 addresses are taken from; its first address is the node's.
    #[arg(long, default_value = "10.244.0.0/24")]
    pub(crate) pod_cidr: Ipv4Net,
    /// The network that pods' IPv6 addresses are taken from; its first address is the node's.
    #[arg(long, default_value = "fd00:10:244::/64")]
    pub(crate) pod_cidr_v6: Ipv6Net,
    /// The node's IPv4 address, given to an interface if none has it. Otherwise that of the default
    /// route, or else the first of the pods' network.
    #[arg(long)]
    pub(crate) node_ip: Option<Ipv4Addr>,
    /// The same for IPv6.
    #[arg(long)]
    pub(crate) node_ip_v6: Option<Ipv6Addr>,
    /// Give pods no IPv6 addresses.
    #[arg(long)]
    pub(crate) no_ipv6: bool,
    /// The domain of Services' names.
    #[arg(long, default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// Bind pods that have no node to this one, for API servers without a scheduler.
    #[arg(long)]
    pub(crate) schedule: bool,
    /// The port that logs are served at.
    #[arg(long, default_value_t = 10250)]
    pub(crate) kubelet_port: u16,
    /// The program that is started as `run-container`; this one if not given.
    #[arg(long, hide = true)]
    pub(crate) launcher: Option<PathBuf>,
}

impl Args {
    /// What the command line says by default.
    pub(crate) fn new(kubeconfig: PathBuf, state: PathBuf) -> Self {
        Self {
            kubeconfig,
            node_name: "netting-box".to_owned(),
            state,
            images: Vec::new(),
            pod_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 24),
            pod_cidr_v6: Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0), 64),
            node_ip: None,
            node_ip_v6: None,
            no_ipv6: false,
            cluster_domain: "cluster.local".to_owned(),
            schedule: false,
            kubelet_port: 10250,
            launcher: None,
        }
    }
}

/// Runs the node agent until SIGTERM or SIGINT, then removes everything that it made.
///
/// # Errors
/// What keeps it from starting: no kubeconfig, no right to make namespaces, no `ip` or `iptables`.
pub async fn run(args: Args) -> anyhow::Result<()> {
    log_to_stderr();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    serve(args, shutdown).await
}

/// Logs what `NETTING_LOG` lets through.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("NETTING_LOG");
    // The program that this is a part of may have a log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .try_init();
}

/// Runs the node agent until `shutdown` is done. It works in the network and mount namespaces of
/// the thread that calls it, which must not end before: its processes are killed with that thread.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let client = client(&args.kubeconfig).await?;
    Box::pin(agent::run(args, client, shutdown)).await
}

/// A client by the kubeconfig in this file.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    let path = kubeconfig.display();
    let read = Kubeconfig::read_from(kubeconfig);
    let read = read.with_context(|| format!("read the kubeconfig {path}"))?;
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use the kubeconfig {path}"))?;
    kube::Client::try_from(config).context("make a Kubernetes client")
}
