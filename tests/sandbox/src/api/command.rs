//! `netting-sandbox api`: the embedded API alone, with its controllers.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::{Cluster, Options, controllers, serve};

/// Options of `netting-sandbox api`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address to serve on
    #[arg(long, default_value = "127.0.0.1:6443", value_name = "IP:PORT")]
    listen: SocketAddr,

    /// File to write a kubeconfig to whose user may do everything
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,

    /// Where pods reach the server behind the Service `kubernetes`; without it there is none
    #[arg(long, value_name = "IP:PORT")]
    advertise: Option<SocketAddr>,
}

/// Serves the API until the process is ended.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(args: Args) -> anyhow::Result<()> {
    crate::node::log_to_stderr();
    let cluster = Cluster::new(Options {
        advertised: args.advertise,
        ..Options::default()
    })?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("listen on {}", args.listen))?;
    let url = format!(
        "https://{}",
        listener
            .local_addr()
            .context("read the listener's address")?
    );
    let serving = tokio::spawn(serve(cluster.clone(), vec![listener]));
    tokio::spawn(controllers::run(cluster.clone(), &[]));
    write_kubeconfig(&args.kubeconfig, &cluster.admin_kubeconfig(&url))?;
    serving.await.context("the server panicked")?
}

/// Writes a file that is there whole or not at all, and that only its owner can read.
pub(crate) fn write_kubeconfig(file: &Path, content: &str) -> anyhow::Result<()> {
    let partial = file.with_extension("partial");
    let mut options = fs::OpenOptions::new();
    let open = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial);
    open.and_then(|mut open| open.write_all(content.as_bytes()))
        .and_then(|()| fs::rename(&partial, file))
        .with_context(|| format!("write the kubeconfig {}", file.display()))
}
