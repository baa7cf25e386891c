//! The node agent: runs the pods that are bound to its node as processes, in network namespaces
//! of their own, and speaks to nothing but a Kubernetes API, whichever that is.
//!
//! In reading order:
//! - `agent` starts the parts below and follows the node's pods;
//! - `pod` is the task of one pod: it does what its `lifecycle` decides and tells the API its
//!   `status`;
//! - `containers` runs one container through the `launcher`, which makes its namespaces, root
//!   file system and privileges; `env`, `fields`, `etc`, `security` and `volumes` say what
//!   is in them, `images` where its binaries come from, `logs` where its output goes;
//! - `probes` asks containers how they are;
//! - `network` links the pods to the node, `services` translates Service addresses as kube-proxy
//!   does, `dns` answers for their names, both from one view of the `cluster`;
//! - `registration` keeps the Node object and its lease, `scheduler` binds pods where nobody
//!   else does, `kubelet_server` serves the logs, `events` tells what happens.

mod agent;
mod cluster;
mod containers;
mod dns;
mod env;
mod etc;
mod events;
mod fields;
mod images;
mod kubelet_server;
pub mod launcher;
mod lifecycle;
mod logs;
mod network;
mod pod;
mod probes;
mod registration;
mod scheduler;
mod security;
mod services;
mod status;
mod volumes;

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

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
    kubeconfig: PathBuf,
    /// The node's name in the cluster.
    #[arg(long, default_value = "netting-box")]
    node_name: String,
    /// A directory for logs and volumes; what an earlier agent left in it is removed.
    #[arg(long)]
    state: PathBuf,
    /// An image and the directory that its containers see as /netting; may be repeated.
    #[arg(long = "image", value_name = "NAME=DIR", value_parser = images::parse)]
    images: Vec<Image>,
    /// The network that pods' IPv4 addresses are taken from; its first address is the node's.
    #[arg(long, default_value = "10.244.0.0/24")]
    pod_cidr: Ipv4Net,
    /// The network that pods' IPv6 addresses are taken from; its first address is the node's.
    #[arg(long, default_value = "fd00:10:244::/64")]
    pod_cidr_v6: Ipv6Net,
    /// The node's IPv4 address, given to an interface if none has it. Otherwise that of the default
    /// route, or else the first of the pods' network.
    #[arg(long)]
    node_ip: Option<Ipv4Addr>,
    /// The same for IPv6.
    #[arg(long)]
    node_ip_v6: Option<Ipv6Addr>,
    /// Give pods no IPv6 addresses.
    #[arg(long)]
    no_ipv6: bool,
    /// The domain of Services' names.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Bind pods that have no node to this one, for API servers without a scheduler.
    #[arg(long)]
    schedule: bool,
    /// The port that logs are served at.
    #[arg(long, default_value_t = 10250)]
    kubelet_port: u16,
    /// The program that is started as `run-container`; this one if not given.
    #[arg(long, hide = true)]
    launcher: Option<PathBuf>,
}

/// Runs the node agent until SIGTERM or SIGINT, then removes everything that it made.
///
/// # Errors
/// What keeps it from starting: no kubeconfig, no right to make namespaces, no `ip` or `iptables`.
pub async fn run(args: Args) -> anyhow::Result<()> {
    // The program that this is a part of may have one already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr)
        .try_init();
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

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("NETTING_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"))
}

/// Runs the node agent until `shutdown` is done. It works in the network and mount namespaces of
/// the thread that calls it, which must not end before: its processes are killed with that thread.
///
/// # Errors
/// As [`run`].
pub async fn serve(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let path = args.kubeconfig.display().to_string();
    let kubeconfig = Kubeconfig::read_from(&args.kubeconfig)
        .with_context(|| format!("read the kubeconfig {path}"))?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("use the kubeconfig {path}"))?;
    let client = kube::Client::try_from(config).context("make a Kubernetes client")?;
    Box::pin(agent::run(args, client, shutdown)).await
}
