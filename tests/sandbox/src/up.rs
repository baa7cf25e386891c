//! `netting-sandbox up`: makes the box, a set of namespaces of its own, and starts the cluster in it.
//!
//! The box is one process, this program again: the first in its process namespace, so that the kernel
//! removes every process, mount and interface in the box when it ends, which is when this one ends at
//! the latest. The API's socket is bound before: a socket stays in the network namespace that it was
//! made in, so that the caller reaches the API at a port of 127.0.0.1, and the box needs no way out.
//! Any number of boxes can run at once.

mod inside;

use std::{
    fs::{self, File},
    net::TcpListener,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::{geteuid, getppid},
};

use crate::node::images::{self, Image};

/// Options of `netting-sandbox up`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Directory for the log, kubeconfigs and the node's state; made if it is missing
    #[arg(long, value_name = "DIR")]
    state: PathBuf,

    /// An image, and the directory that its containers see at /netting; may be given several times
    #[arg(long = "image", value_name = "NAME=DIR", value_parser = images::parse)]
    images: Vec<Image>,

    /// File to write the kubeconfig to [default: kubeconfig in the state directory]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Make a cluster without IPv6
    #[arg(long)]
    no_ipv6: bool,

    /// Go on when the process that started this one ends
    #[arg(long)]
    outlive_parent: bool,

    /// Be the box
    #[arg(long, hide = true)]
    inside: bool,
}

/// Runs a box until SIGTERM, SIGINT or the end of the parent process. Prints one line of JSON once
/// the cluster is ready. Must be called before there are threads.
///
/// # Errors
/// What keeps the box from starting, or how it ended by itself.
pub fn run(mut args: Args) -> anyhow::Result<()> {
    ensure!(
        geteuid().is_root(),
        "a box is made of namespaces, mounts and iptables rules, which only root may make: run this with sudo"
    );
    fs::create_dir_all(&args.state)
        .with_context(|| format!("make the state directory {}", args.state.display()))?;
    args.state = args
        .state
        .canonicalize()
        .context("find the state directory")?;
    if args.inside {
        let error = inside::run(args).err().context("the box ended")?;
        // The last line of the log says it all.
        eprintln!("{error:#}");
        std::process::exit(1);
    }
    if !args.outlive_parent {
        end_with_parent(Signal::SIGTERM)?;
    }
    let log = args.state.join("sandbox.log");
    let mut first = start(&args, &log)?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    // Only now, or the box would inherit the blocked signals.
    signals.thread_block().context("block signals")?;
    loop {
        if let Some(status) = first.try_wait().context("look after the box")? {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let last = said.lines().last().unwrap_or("it said nothing");
            bail!(
                "the box ended by itself ({status}); its log is {}: {last}",
                log.display()
            );
        }
        if signals.wait().context("wait for a signal")? != Signal::SIGCHLD {
            first.kill().context("end the box")?;
            first.wait().context("wait for the end of the box")?;
            return Ok(());
        }
    }
}

/// Has the kernel send `signal` to this process when its parent ends.
fn end_with_parent(signal: Signal) -> anyhow::Result<()> {
    let parent = getppid();
    prctl::set_pdeathsig(signal).context("ask to end with the parent")?;
    ensure!(getppid() == parent, "the parent process ended first");
    Ok(())
}

/// Starts the box's first process, with the API's socket as its standard input.
fn start(args: &Args, log: &PathBuf) -> anyhow::Result<Child> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listen on 127.0.0.1 for the API")?;
    let log = File::create(log).with_context(|| format!("write {}", log.display()))?;
    // The next child will be the first process of its namespace.
    unshare(CloneFlags::CLONE_NEWPID).context("make a process namespace")?;
    let program = std::env::current_exe().context("find this program")?;
    Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        // Boxes must not wait for each other's rules.
        .env("XTABLES_LOCKFILE", args.state.join("xtables.lock"))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(log)
        .spawn()
        .context("start the box")
}
