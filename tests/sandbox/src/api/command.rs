//! `netting-sandbox api`.

use std::{
    fs,
    net::SocketAddr,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{Cluster, Options, serve};
use crate::controllers;

/// Options of `netting-sandbox api`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address to serve on; may be given several times. The first is the one the kubeconfigs and
    /// the controllers use, unless there is a `--listen-fd`
    #[arg(long, default_value = "127.0.0.1:6443", value_name = "IP:PORT")]
    listen: Vec<SocketAddr>,

    /// A listening socket that was inherited, by its file descriptor; `--kubeconfig` then points there
    #[arg(long, value_name = "FD")]
    listen_fd: Option<RawFd>,

    /// File to write a kubeconfig to whose user may do everything
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,

    /// File to write the node agent's kubeconfig to
    #[arg(long, value_name = "FILE", requires = "node_name")]
    node_kubeconfig: Option<PathBuf>,

    /// Name of the node that `--node-kubeconfig` is for
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,

    /// Where pods reach the server behind the Service `kubernetes`
    #[arg(long, value_name = "IP:PORT")]
    advertise: Option<SocketAddr>,

    /// Run the controllers too: Deployments, ReplicaSets, EndpointSlices, scheduling, Jobs, garbage
    /// collection
    #[arg(long)]
    controllers: bool,

    /// Make the cluster IPv4-only
    #[arg(long)]
    no_ipv6: bool,
}

/// Serves the API until SIGTERM or SIGINT. Prints one line of JSON once it does.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(args: Args) -> anyhow::Result<()> {
    // The program that this is a part of may have set one up already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter())
        .with_writer(std::io::stderr)
        .try_init();
    let mut terminated = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let cluster = Cluster::new(Options {
        dual_stack: !args.no_ipv6,
        advertised: args.advertise,
        ..Options::default()
    })?;
    let mut listeners = Vec::new();
    for addr in &args.listen {
        listeners.push(
            TcpListener::bind(addr)
                .await
                .with_context(|| format!("listen on {addr}"))?,
        );
    }
    let inside = listeners[0]
        .local_addr()
        .context("read the listener's address")?;
    let mut outside = inside;
    if let Some(fd) = args.listen_fd {
        let listener =
            inherited(fd).with_context(|| format!("use file descriptor {fd} as the listener"))?;
        outside = listener
            .local_addr()
            .context("read the inherited listener's address")?;
        listeners.push(listener);
    }
    let serving = tokio::spawn(serve(cluster.clone(), listeners));
    let inside = format!("https://{inside}");
    if args.controllers {
        let config = |name: &str| cluster.controller_kubeconfig(&inside, name);
        tokio::spawn(controllers::run(
            controllers::Clients::connect(config).await?,
        ));
    }
    if let (Some(file), Some(name)) = (&args.node_kubeconfig, &args.node_name) {
        write(file, &cluster.node_kubeconfig(&inside, name))?;
    }
    // Last: whoever waits for this file finds everything else in place.
    write(
        &args.kubeconfig,
        &cluster.admin_kubeconfig(&format!("https://{outside}")),
    )?;
    tracing::info!(%outside, %inside, "serving");
    println!(
        "{}",
        serde_json::json!({"ready": true, "server": format!("https://{outside}"), "kubeconfig": args.kubeconfig})
    );
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    cluster.stop();
    serving.await.context("the server panicked")?
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("NETTING_LOG").unwrap_or_else(|_| "info".into())
}

/// Writes a file that is there whole or not at all, and that only its owner can read.
fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let partial = file.with_extension("partial");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial);
    written
        .and_then(|mut open| std::io::Write::write_all(&mut open, content.as_bytes()))
        .and_then(|()| fs::rename(&partial, file))
        .with_context(|| format!("write the kubeconfig {}", file.display()))
}

#[allow(
    unsafe_code,
    reason = "an inherited descriptor is only known by its number"
)]
fn inherited(fd: RawFd) -> anyhow::Result<TcpListener> {
    nix::fcntl::fcntl(borrowed(fd), nix::fcntl::FcntlArg::F_GETFD).context("it is not open")?;
    // SAFETY: it is open, it was passed to this process for this purpose, and nothing else uses it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let listener = std::net::TcpListener::from(fd);
    listener
        .set_nonblocking(true)
        .context("make it non-blocking")?;
    TcpListener::from_std(listener).context("it is no listening socket")
}

#[allow(
    unsafe_code,
    reason = "only asks the kernel whether the number is a descriptor"
)]
fn borrowed(fd: RawFd) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: used for one fcntl, which fails if the number is not open.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}
