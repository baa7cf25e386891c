//! The box's first process: prepares its namespaces, then is the API and the node agent.

use std::{
    fs, io::Write as _, net::TcpListener, os::fd::AsFd as _, path::Path, process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, runtime::wait::await_condition};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
    unistd::setsid,
};
use serde_json::json;

use super::Args;
use crate::{api, node};

/// The node's name.
const NODE: &str = "netting-box";
/// The node's addresses.
const NODE_V4: &str = "10.244.0.1";
const NODE_V6: &str = "fd00:10:244::1";
/// Where the API is reached in the box.
const API_PORT: u16 = 6443;
/// How long the node may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the cluster until this process is killed.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    super::end_with_parent(Signal::SIGKILL)?;
    // Ctrl-C is for the parent, which ends the box in order.
    setsid().context("leave the parent's terminal")?;
    // As the caller's /proc knows this process.
    let pid = fs::read_link("/proc/self").context("find the box's process id")?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("make namespaces")?;
    mounts()?;
    network(args.no_ipv6)?;
    node::log_to_stderr();
    tokio::runtime::Runtime::new()
        .context("start the async runtime")?
        .block_on(Box::pin(cluster(args, &pid)))
}

fn mounts() -> anyhow::Result<()> {
    let none: Option<&str> = None;
    // What is mounted in here must not show outside.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("make the mounts private")?;
    fs::create_dir_all("/run/netns").context("make /run/netns")?;
    for (kind, place) in [("proc", "/proc"), ("tmpfs", "/run/netns")] {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), none)
            .with_context(|| format!("mount {place}"))?;
    }
    Ok(())
}

/// The node's addresses are on the loopback interface: nobody else is to be reached through it.
fn network(no_ipv6: bool) -> anyhow::Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["addr", "add", &format!("{NODE_V4}/32"), "dev", "lo"])?;
    if !no_ipv6 {
        ip(&[
            "addr",
            "add",
            &format!("{NODE_V6}/128"),
            "dev",
            "lo",
            "nodad",
        ])
        .context("give the box an IPv6 address; --no-ipv6 does without")?;
    }
    Ok(())
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(args).output();
    let output = output.context("run `ip`; is iproute2 installed?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`ip {}`: {}",
        args.join(" "),
        said.trim()
    );
    Ok(())
}

async fn cluster(args: Args, pid: &Path) -> anyhow::Result<()> {
    let addr = format!("{NODE_V4}:{API_PORT}");
    let cluster = api::Cluster::new(api::Options {
        dual_stack: !args.no_ipv6,
        advertised: Some(addr.parse().context("the API's address")?),
        ..api::Options::default()
    })?;
    let outside = std::io::stdin().as_fd().try_clone_to_owned();
    let outside = TcpListener::from(outside.context("take the API's socket")?);
    outside
        .set_nonblocking(true)
        .context("set up the API's socket")?;
    let url = format!(
        "https://{}",
        outside.local_addr().context("is it a socket?")?
    );
    let listeners = vec![
        tokio::net::TcpListener::from_std(outside).context("use the API's socket")?,
        tokio::net::TcpListener::bind(&addr)
            .await
            .context("listen for pods")?,
    ];
    let node_kubeconfig = args.state.join("node.kubeconfig");
    api::write_kubeconfig(
        &node_kubeconfig,
        &cluster.node_kubeconfig(&format!("https://{addr}"), NODE),
    )?;
    let serving = tokio::spawn(api::serve(cluster.clone(), listeners));
    tokio::spawn(api::controllers::run(cluster.clone(), &[]));
    let client = node::client(&node_kubeconfig).await?;
    let options = node::Args {
        node_name: NODE.to_owned(),
        node_ip: Some(NODE_V4.parse().context("the node's address")?),
        node_ip_v6: (!args.no_ipv6).then(|| NODE_V6.parse()).transpose()?,
        images: args.images,
        no_ipv6: args.no_ipv6,
        schedule: true,
        ..node::Args::new(node_kubeconfig, args.state.join("node"))
    };
    let announced = async {
        let ready = await_condition(Api::<Node>::all(client), NODE, is_ready);
        let ready = tokio::time::timeout(START_TIMEOUT, ready).await;
        ready
            .context("the node was not ready in time")?
            .context("watch the node")?;
        let kubeconfig = args
            .kubeconfig
            .unwrap_or_else(|| args.state.join("kubeconfig"));
        api::write_kubeconfig(&kubeconfig, &cluster.admin_kubeconfig(&url))?;
        announce(pid, &kubeconfig)?;
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        ended = announced => ended,
        ended = node::serve(options, std::future::pending()) => ended.context("the node agent"),
        ended = serving => ended.context("the API panicked")?.context("the API"),
    }
}

fn is_ready(node: Option<&Node>) -> bool {
    let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn announce(pid: &Path, kubeconfig: &Path) -> anyhow::Result<()> {
    let pid: u32 = pid
        .display()
        .to_string()
        .parse()
        .context("a process id is a number")?;
    let line = json!({"ready": true, "kubeconfig": kubeconfig, "pid": pid,
        "enter": format!("nsenter -t {pid} -n -m -p")});
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("say that the box is ready")
}
