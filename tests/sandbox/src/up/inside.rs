//! The box's first process: prepares its namespaces, starts the API and the node agent, and reaps
//! what is left of other processes. It has no threads.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    mount::{MsFlags, mount},
    sys::wait::{WaitStatus, wait},
};

/// The node's name.
pub(super) const NODE: &str = "netting-box";
/// The node's addresses.
const NODE_V4: &str = "10.244.0.1";
const NODE_V6: &str = "fd00:10:244::1";
/// Where the API is reached in the box.
const API: &str = "10.244.0.1:6443";

/// What the box is to run.
pub(super) struct Plan {
    pub(super) state: PathBuf,
    /// Where the caller's kubeconfig goes.
    pub(super) kubeconfig: PathBuf,
    /// `NAME=DIR` each, for the node agent to parse.
    pub(super) images: Vec<String>,
    pub(super) no_ipv6: bool,
    /// The API's socket in the caller's network namespace.
    pub(super) listener: TcpListener,
}

/// The processes whose end is the box's.
pub(super) struct Parts {
    api: Child,
    node: Child,
}

/// Prepares the box and starts its parts; returns once the API serves.
pub(super) fn start(plan: &Plan) -> anyhow::Result<Parts> {
    mounts()?;
    network(plan.no_ipv6)?;
    let (api, node_kubeconfig) = start_api(plan)?;
    let node = start_node(plan, &node_kubeconfig)?;
    Ok(Parts { api, node })
}

fn mounts() -> anyhow::Result<()> {
    let none: Option<&str> = None;
    // What is mounted in here must not show outside.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("make the mounts private")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("mount /proc")?;
    fs::create_dir_all("/run/netns").context("make /run/netns")?;
    mount(
        Some("tmpfs"),
        "/run/netns",
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )
    .context("mount /run/netns")
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

/// Starts the API and waits until it serves; returns it with the node agent's kubeconfig.
fn start_api(plan: &Plan) -> anyhow::Result<(Child, PathBuf)> {
    let node_kubeconfig = plan.state.join("node.kubeconfig");
    // The one descriptor that the API is to inherit.
    fcntl(&plan.listener, FcntlArg::F_SETFD(FdFlag::empty())).context("pass the API its socket")?;
    let mut command = part(plan, "api")?;
    command
        .args(["--listen", API, "--advertise", API, "--controllers"])
        .arg("--listen-fd")
        .arg(plan.listener.as_raw_fd().to_string())
        .arg("--kubeconfig")
        .arg(&plan.kubeconfig)
        .arg("--node-kubeconfig")
        .arg(&node_kubeconfig)
        .args(["--node-name", NODE])
        .stdout(Stdio::piped());
    let mut api = command.spawn().context("start the API")?;
    fcntl(&plan.listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .context("keep the API's socket from others")?;
    let mut line = String::new();
    let stdout = api.stdout.take().context("read from the API")?;
    BufReader::new(stdout)
        .read_line(&mut line)
        .context("read from the API")?;
    if line.is_empty() {
        bail!(
            "the API did not start: {}",
            last_line(&plan.state.join("api.log"))
        );
    }
    Ok((api, node_kubeconfig))
}

fn start_node(plan: &Plan, kubeconfig: &Path) -> anyhow::Result<Child> {
    let mut command = part(plan, "node")?;
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--node-name", NODE, "--node-ip", NODE_V4])
        .arg("--state")
        .arg(plan.state.join("node"));
    for image in &plan.images {
        command.arg("--image").arg(image);
    }
    if !plan.no_ipv6 {
        command.args(["--node-ip-v6", NODE_V6]);
    }
    command.spawn().context("start the node agent")
}

/// This program as one of its parts, logging to a file of that name.
fn part(plan: &Plan, name: &str) -> anyhow::Result<Command> {
    let path = plan.state.join(format!("{name}.log"));
    let log = File::create(&path).with_context(|| format!("write {}", path.display()))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    // Boxes must not wait for each other's rules.
    command.env("XTABLES_LOCKFILE", plan.state.join("xtables.lock"));
    if plan.no_ipv6 {
        command.arg("--no-ipv6");
    }
    Ok(command)
}

/// Collects every process that ends without a parent, until one of the parts does: returns which.
pub(super) fn reap(parts: Parts) -> anyhow::Error {
    loop {
        let (pid, how) = match wait() {
            Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exit code {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, signal.to_string()),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return anyhow!(error).context("wait for the parts"),
        };
        for (name, part) in [("api", &parts.api), ("node", &parts.node)] {
            if i64::from(part.id()) == i64::from(pid.as_raw()) {
                return anyhow!("the part `{name}` ended: {how}");
            }
        }
    }
}

fn last_line(path: &Path) -> String {
    let content = fs::read_to_string(path).unwrap_or_default();
    content
        .lines()
        .last()
        .unwrap_or("it said nothing")
        .to_owned()
}
