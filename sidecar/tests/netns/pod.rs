//! A pod's network namespace with the rules and the sidecar in it, and a peer's.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser as _;
use nix::sched::{CloneFlags, setns};

use super::{
    PATIENCE,
    catalog::{self, Known},
};

/// Between two looks at something that has no event to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(crate) struct Pod {
    namespace: Namespace,
    peer: Namespace,
    sidecar: Child,
}

/// A named network namespace, removed when dropped.
struct Namespace {
    name: String,
}

pub(crate) fn dst(ip: &str, port: u16) -> SocketAddr {
    let ip: IpAddr = ip.parse().expect("a literal address");
    SocketAddr::new(ip, port)
}

fn ip(command: &str) {
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
    fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netting-{}-{count}-{role}", std::process::id());
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        Self { name }
    }

    /// Runs something on a thread of its own, inside.
    fn run<R: Send>(&self, inside: impl FnOnce() -> R + Send) -> R {
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
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failure leaves a namespace behind; panicking here would hide the test's own.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}

impl Pod {
    /// With a catalog at the peer that knows these services, each with its endpoint.
    pub(crate) fn start(services: &[(SocketAddr, SocketAddr)]) -> Self {
        let (namespace, peer) = joined();
        let listener = peer.run(|| TcpListener::bind("10.0.0.1:15010").expect("a free port"));
        let known = Known(services.iter().copied().collect());
        thread::spawn(move || catalog::serve(listener, known));
        let pod = Self::with_sidecar(namespace, peer, "{}");
        pod.wait_for("/metrics", "\nnetting_discovery_connected 1\n");
        pod
    }

    /// With the probes that the webhook would have told the sidecar, and no catalog.
    pub(crate) fn start_with_probes(probes: &str) -> Self {
        let (namespace, peer) = joined();
        Self::with_sidecar(namespace, peer, probes)
    }

    pub(crate) fn start_without_catalog() -> Self {
        let (namespace, peer) = joined();
        let pod = Self::with_sidecar(namespace, peer, "{}");
        pod.wait_for("/ready", "\r\n\r\nready");
        pod
    }

    fn with_sidecar(namespace: Namespace, peer: Namespace, probes: &str) -> Self {
        namespace.run(|| {
            let args = netting_iptables_init::Args::parse_from(["netting-iptables-init"]);
            netting_iptables_init::run(&args);
        });
        let sidecar = Command::new("ip")
            .args([
                "netns",
                "exec",
                &namespace.name,
                "setpriv",
                "--reuid=4150",
                "--regid=4150",
            ])
            .args(["--clear-groups", env!("CARGO_BIN_EXE_netting-sidecar")])
            .args([
                "--catalog=10.0.0.1:15010",
                "--drain-timeout=8s",
                "--log=info",
            ])
            .env("NETTING_PROBES", probes)
            .stdin(Stdio::null())
            .spawn()
            .expect("iproute2 and util-linux are installed");
        let pod = Self {
            namespace,
            peer,
            sidecar,
        };
        pod.wait_for("/live", "live");
        // Neighbour discovery over a link that just came up can take a second, which
        // no test is about.
        let admin = dst("fd00::2", 15020);
        pod.peer_connect(admin)
            .expect("the two namespaces are joined");
        pod
    }

    /// Connects as the application would.
    pub(crate) fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.namespace
            .run(|| TcpStream::connect_timeout(&to, PATIENCE))
    }

    pub(crate) fn peer_connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.peer.run(|| TcpStream::connect_timeout(&to, PATIENCE))
    }

    /// Makes the peer send what is for that address to the pod.
    pub(crate) fn peer_routes_to_the_pod(&self, addr: IpAddr) {
        ip(&format!(
            "-n {} route add {addr} via 10.0.0.2",
            self.peer.name
        ));
    }

    /// Gives the pod another address.
    pub(crate) fn add_address(&self, addr: &str) {
        ip(&format!(
            "-n {} addr add {addr} dev eth0",
            self.namespace.name
        ));
    }

    /// Listens as the application would.
    pub(crate) fn listen(&self, at: SocketAddr) -> TcpListener {
        self.namespace
            .run(|| TcpListener::bind(at))
            .expect("a free port")
    }

    pub(crate) fn peer_listen(&self, at: SocketAddr) -> TcpListener {
        self.peer
            .run(|| TcpListener::bind(at))
            .expect("a free port")
    }

    /// Asks the admin port, from within the pod.
    pub(crate) fn admin(&self, path: &str) -> String {
        self.try_admin(path).expect("the admin port answers")
    }

    fn try_admin(&self, path: &str) -> io::Result<String> {
        let mut stream = self.connect(dst("127.0.0.1", 15020))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until the admin port's answer contains something.
    pub(crate) fn wait_for(&self, path: &str, something: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.try_admin(path);
            if answer
                .as_ref()
                .is_ok_and(|answer| answer.contains(something))
            {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{path} does not say {something}: {answer:?}"
            );
            thread::sleep(LOOK_AGAIN);
        }
    }

    pub(crate) fn terminate(&self) {
        // `ip netns exec` and `setpriv` become the sidecar: the process is the same.
        let pid = self.sidecar.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.expect("util-linux is installed").success());
    }

    /// Waits for the sidecar to end.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.sidecar.try_wait().expect("it is our child") {
                return status.code();
            }
            thread::sleep(LOOK_AGAIN);
        }
        panic!("the sidecar did not end within {PATIENCE:?}");
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.sidecar.kill();
        let _ = self.sidecar.wait();
    }
}

/// A pod's namespace and a peer's with a veth pair between them, IPv4 and IPv6.
fn joined() -> (Namespace, Namespace) {
    let (pod, peer) = (Namespace::new("pod"), Namespace::new("peer"));
    ip(&format!(
        "-n {} link add eth0 type veth peer name eth0 netns {}",
        pod.name, peer.name
    ));
    for (namespace, host) in [(&pod, 2), (&peer, 1)] {
        let name = &namespace.name;
        ip(&format!("-n {name} addr add 10.0.0.{host}/24 dev eth0"));
        ip(&format!(
            "-n {name} addr add fd00::{host}/64 dev eth0 nodad"
        ));
        ip(&format!("-n {name} link set eth0 up"));
    }
    ip(&format!("-n {} route add default via 10.0.0.1", pod.name));
    ip(&format!("-n {} -6 route add default via fd00::1", pod.name));
    (pod, peer)
}
