//! `netting-sandbox up`: makes the box, a set of namespaces of its own, and starts the parts in it.
//!
//! The API's socket is bound before the box exists: a socket stays in the network namespace that it
//! was made in, so that the caller reaches the API at a port of 127.0.0.1, and the box needs no way
//! out. The box ends with its first process, which dies when this one does: the kernel then removes
//! every process, mount and interface in it. Any number of boxes can run at once.

mod inside;
mod process;
mod ready;

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use nix::unistd::geteuid;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use self::process::{Ended, Sandbox};

/// How long the parts may take until the node is ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of `netting-sandbox up`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Directory for logs, kubeconfigs and the node's state; made if it is missing
    #[arg(long, value_name = "DIR")]
    state: PathBuf,

    /// An image, and the directory that its containers see at /netting; may be given several times
    #[arg(long = "image", value_name = "NAME=DIR")]
    images: Vec<String>,

    /// File to write the kubeconfig to [default: kubeconfig in the state directory]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Make a cluster without IPv6
    #[arg(long)]
    no_ipv6: bool,

    /// Go on when the process that started this one ends
    #[arg(long)]
    outlive_parent: bool,
}

/// Runs a box until SIGTERM, SIGINT or the end of the parent process. Prints one line of JSON once
/// the cluster is ready. Must be called before there are threads.
///
/// # Errors
/// What keeps the box from starting, or which part of it ended by itself.
pub fn run(args: Args) -> anyhow::Result<()> {
    ensure!(
        geteuid().is_root(),
        "a box is made of namespaces, mounts and iptables rules, which only root may make: run this with sudo"
    );
    fs::create_dir_all(&args.state)
        .with_context(|| format!("make the state directory {}", args.state.display()))?;
    let state = args
        .state
        .canonicalize()
        .context("find the state directory")?;
    let kubeconfig = args
        .kubeconfig
        .clone()
        .unwrap_or_else(|| state.join("kubeconfig"));
    // One of an earlier box would be taken for this one's.
    if let Err(error) = fs::remove_file(&kubeconfig)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        bail!(
            "remove the old kubeconfig {}: {error}",
            kubeconfig.display()
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").context("listen on 127.0.0.1 for the API")?;
    let plan = inside::Plan {
        state: state.clone(),
        kubeconfig: kubeconfig.clone(),
        images: args.images,
        no_ipv6: args.no_ipv6,
        listener,
    };
    let cluster = Sandbox::start(plan)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")?
        .block_on(attend(cluster, &state, &kubeconfig, args.outlive_parent))
}

/// Waits until the cluster is ready, says so, and waits for its end.
async fn attend(
    mut cluster: Sandbox,
    state: &Path,
    kubeconfig: &Path,
    outlive_parent: bool,
) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let parent = process::parent().context("watch the parent process")?;
    let api_is_up = cluster.api_is_up();
    let until_ready = async {
        api_is_up.await?;
        let ready = tokio::time::timeout(START_TIMEOUT, ready::node(kubeconfig));
        ready
            .await
            .with_context(|| format!("the node was not ready within {START_TIMEOUT:?}"))?
    };
    let mut announced = false;
    let mut until_ready = std::pin::pin!(until_ready);
    let pid = cluster.pid();
    let ended = cluster.ended();
    let mut ended = std::pin::pin!(ended);
    loop {
        tokio::select! {
            ready = until_ready.as_mut(), if !announced => {
                ready.with_context(|| logs(state))?;
                announce(pid, kubeconfig)?;
                announced = true;
            }
            ended = ended.as_mut() => {
                let Ended(how) = ended?;
                bail!("the box ended by itself ({how}); {}", logs(state));
            }
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            _ = parent.readable(), if !outlive_parent => return Ok(()),
        }
    }
}

fn announce(pid: i32, kubeconfig: &Path) -> anyhow::Result<()> {
    let line = json!({"ready": true, "kubeconfig": kubeconfig, "pid": pid,
        "enter": format!("nsenter -t {pid} -n -m -p")});
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("say that the box is ready")
}

fn logs(state: &Path) -> String {
    format!("the logs are {0}/api.log and {0}/node.log", state.display())
}
