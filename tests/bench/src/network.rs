//! Two pods without Netting and two with it, on one bridge, as on a Kubernetes node.
//!
//! `hack/bench.sh` gave this process network and mount namespaces of its own, so everything here
//! is gone when it ends, however it ends.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    process::Command,
    thread,
};

use anyhow::{Context as _, ensure};
use nix::sched::{CloneFlags, setns};

/// The bridge, where the control plane is: the sidecars' gateway to everything else.
pub(crate) const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));

/// A pod's network namespace.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: &'static str,
    pub(crate) addr: IpAddr,
}

/// All pods.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) plain_client: Pod,
    pub(crate) plain_server: Pod,
    pub(crate) meshed_client: Pod,
    pub(crate) meshed_server: Pod,
}

impl Network {
    /// Makes the bridge and the pods' namespaces.
    pub(crate) fn make() -> anyhow::Result<Self> {
        // What `ip netns` and iptables keep there is private as well then.
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
        ip("link set lo up")?;
        ip("link add bridge type bridge")?;
        ip(&format!("addr add {NODE}/24 dev bridge"))?;
        ip("link set bridge up")?;
        Ok(Self {
            plain_client: Pod::make("plain-client", 2)?,
            plain_server: Pod::make("plain-server", 3)?,
            meshed_client: Pod::make("meshed-client", 4)?,
            meshed_server: Pod::make("meshed-server", 5)?,
        })
    }
}

impl Pod {
    fn make(name: &'static str, host: u8) -> anyhow::Result<Self> {
        let addr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, host));
        ip(&format!("netns add {name}"))?;
        ip(&format!(
            "link add {name} type veth peer name eth0 netns {name}"
        ))?;
        ip(&format!("link set {name} master bridge up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} addr add {addr}/24 dev eth0"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        ip(&format!("-n {name} route add default via {NODE}"))?;
        Ok(Self { name, addr })
    }

    /// A command that runs a program in here. It becomes the program, so that their process is the
    /// same, and is killed when the thread that started it ends.
    pub(crate) fn command(&self, setpriv: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name, "setpriv", "--pdeathsig=KILL"]);
        command.args(setpriv);
        command
    }

    /// Runs something in here, on a thread of its own.
    pub(crate) fn enter<R: Send>(
        &self,
        inside: impl FnOnce() -> anyhow::Result<R> + Send,
    ) -> anyhow::Result<R> {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", self.name))?;
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                inside()
            });
            let entered = entered.join();
            entered
                .map_err(|_| anyhow::anyhow!("it panicked"))
                .flatten()
        })
        .with_context(|| format!("in {}", self.name))
    }
}

fn ip(command: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(command.split_whitespace()))
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    output(command).map(drop)
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("could not start {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} failed: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(text(&output.stdout))
}
