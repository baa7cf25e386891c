//! Network namespaces, and what is run in them.

use std::{
    fs::File,
    net::{IpAddr, SocketAddr, TcpListener},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// A named network namespace, removed when dropped.
pub(crate) struct Namespace {
    name: String,
}

/// A socket address, of a literal IP address.
pub(crate) fn dst(ip: &str, port: u16) -> SocketAddr {
    let ip: IpAddr = ip.parse().expect("a literal address");
    SocketAddr::new(ip, port)
}

/// Runs `ip` with the words of `command`.
pub(crate) fn ip(command: &str) {
    let output = Command::new("ip")
        .args(command.split_whitespace())
        .output()
        .expect("iproute2 is installed");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ip {command}: {why}(this test needs root and iproute2)"
    );
}

impl Namespace {
    /// A new one, whose loopback is up.
    pub(crate) fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netting-{}-{count}-{role}", std::process::id());
        ip(&format!("netns add {name}"));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, command: &str) {
        ip(&format!("-n {} {command}", self.name));
    }

    /// A program inside, killed when the thread that starts it ends. `ip netns exec`
    /// and `setpriv` become the program: the process is the same.
    pub(crate) fn command(&self, identity: &[&str], program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .args(["setpriv", "--pdeathsig=KILL"])
            .args(identity)
            .arg(program);
        command
    }

    /// Runs something on a thread of its own, inside.
    pub(crate) fn run<R: Send>(&self, inside: impl FnOnce() -> R + Send) -> R {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{}", self.name));
                setns(namespace.expect("it exists"), CloneFlags::CLONE_NEWNET)
                    .expect("this test needs CAP_SYS_ADMIN");
                inside()
            });
            thread.join().expect("it does not panic")
        })
    }

    /// From now on, it is for others as if it were not there.
    pub(crate) fn vanishes(&self) {
        let mut drop_all = self.command(&[], "iptables");
        let dropped = drop_all.args(["-I", "INPUT", "-i", "eth0", "-j", "DROP"]);
        let dropped = dropped.status().expect("iptables is installed");
        assert!(dropped.success(), "this test needs root and iptables");
    }

    /// Listens inside.
    pub(crate) fn listen(&self, at: SocketAddr) -> TcpListener {
        self.run(|| TcpListener::bind(at)).expect("a free port")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failure leaves a namespace behind; panicking here would hide the test's own.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}
