//! A pod as the init container sees it: a network namespace with an interface, and a peer beyond.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Output};
use std::time::Duration;
use std::{env, process, thread};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Uid, setfsuid};
use socket2::{Domain, SockRef, Socket, Type};

/// Longer than anything here takes, so that a test that hangs fails.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Where Debian and others keep iptables and iproute2.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A network namespace that lives as long as this value, or as a process or socket in it.
pub(crate) struct Namespace(File);

impl Namespace {
    fn new() -> Self {
        let file = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("making a network namespace needs root (CAP_SYS_ADMIN): run the tests so");
            File::open("/proc/thread-self/ns/net").expect("/proc is mounted")
        });
        let namespace = Self(file.join().expect("a network namespace can be made"));
        namespace.sh("ip link set lo up");
        namespace
    }

    /// The one that a process is in.
    pub(crate) fn of_process(id: u32) -> Self {
        let file = File::open(format!("/proc/{id}/ns/net"));
        let namespace = Self(file.expect("the process runs"));
        namespace.sh("ip link set lo up");
        namespace
    }

    /// Runs `work` on a thread inside the namespace; what it starts or opens belongs there.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root may enter its namespaces");
                work()
            });
            inside
                .join()
                .expect("the work inside the namespace succeeds")
        })
    }

    /// Runs a shell command that must succeed, and returns what it prints.
    pub(crate) fn sh(&self, script: &str) -> String {
        let mut command = Command::new("/bin/sh");
        command.args(["-ec", script]).env("PATH", PATH);
        let run = self.run(&mut command);
        assert_eq!(run.code, 0, "`{script}` failed: {}", run.stderr);
        run.stdout
    }

    pub(crate) fn run(&self, command: &mut Command) -> Run {
        let output = self.within(|| command.output());
        Run::from(output.expect("the command can be started"))
    }

    pub(crate) fn listen(&self, addr: &str) -> TcpListener {
        let addr: SocketAddr = addr.parse().expect("an address with a port");
        self.within(|| {
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
            if addr.is_ipv6() {
                // Otherwise [::] would take IPv4 as well, and 0.0.0.0 couldn't be listened on.
                socket.set_only_v6(true)?;
            }
            socket.set_reuse_address(true)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.bind(&addr.into())?;
            socket.listen(16)?;
            std::io::Result::Ok(socket.into())
        })
        .unwrap_or_else(|error| panic!("could not listen on {addr}: {error}"))
    }

    pub(crate) fn connect(&self, addr: &str) -> TcpStream {
        self.connect_as(0, None, addr)
    }

    /// Connects as the user `uid`, from the address `from` if one is given.
    pub(crate) fn connect_as(&self, uid: u32, from: Option<&str>, addr: &str) -> TcpStream {
        let addr: SocketAddr = addr.parse().expect("an address with a port");
        self.within(|| {
            // The kernel takes a socket's owner from the thread's file system user.
            setfsuid(Uid::from_raw(uid));
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
            if let Some(from) = from {
                let from = SocketAddr::new(from.parse().expect("an address"), 0);
                socket.bind(&from.into())?;
            }
            socket.connect_timeout(&addr.into(), TIMEOUT)?;
            std::io::Result::Ok(socket.into())
        })
        .unwrap_or_else(|error| panic!("could not connect to {addr}: {error}"))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}

/// A pod with both families: 10.77.0.2 and fd77::2, and a peer at 10.77.0.1 and fd77::1 that is
/// also its default route.
pub(crate) struct Pod {
    pub(crate) ns: Namespace,
    pub(crate) peer: Namespace,
}

impl Pod {
    pub(crate) fn new() -> Self {
        Self::of(Namespace::new())
    }

    /// With a network namespace that is there already.
    pub(crate) fn of(ns: Namespace) -> Self {
        let pod = Self::with_ipv4(ns);
        pod.ns
            .sh("ip -6 addr add fd77::2/64 dev eth0 nodad && ip -6 route add default via fd77::1");
        pod.peer.sh("ip -6 addr add fd77::1/64 dev eth0 nodad");
        // The kernel installs the route by which the address is its own in the background.
        for (ns, addr) in [(&pod.ns, "fd77::2"), (&pod.peer, "fd77::1")] {
            let installed = format!("ip -6 route show table local | grep -q '^local {addr} '");
            ns.sh(&format!(
                "timeout 5 sh -c \"until {installed}; do :; done\""
            ));
        }
        pod
    }

    pub(crate) fn without_ipv6() -> Self {
        Self::with_ipv4(Namespace::new())
    }

    fn with_ipv4(ns: Namespace) -> Self {
        let pod = Self {
            ns,
            peer: Namespace::new(),
        };
        let (ns, peer) = (&pod.ns, &pod.peer);
        let beyond = peer.path();
        ns.sh(&format!(
            "ip link add eth0 type veth peer name eth0 netns {beyond}"
        ));
        peer.sh("ip addr add 10.77.0.1/24 dev eth0 && ip link set eth0 up");
        ns.sh("ip addr add 10.77.0.2/24 dev eth0 && ip link set eth0 up");
        ns.sh("ip route add default via 10.77.0.1");
        pod
    }

    /// Runs the init container's binary with these flags.
    pub(crate) fn init(&self, flags: &[&str]) -> Run {
        self.ns.run(&mut init_command(flags))
    }

    /// Runs it and expects it to succeed.
    pub(crate) fn apply(&self, flags: &[&str]) -> Run {
        let run = self.init(flags);
        assert_eq!(run.code, 0, "{flags:?}: {}", run.stderr);
        run
    }

    /// Applies without verifying, for tests that try the rules themselves.
    pub(crate) fn apply_with(backend: &str, flags: &[&str]) -> Self {
        let pod = Self::new();
        let backend = format!("--backend={backend}");
        pod.apply(&[&[backend.as_str(), "--no-verify"], flags].concat());
        pod
    }

    /// The `nat` tables of both families and of both backends, without times and counters.
    pub(crate) fn tables(&self) -> String {
        [
            "iptables-nft",
            "ip6tables-nft",
            "iptables-legacy",
            "ip6tables-legacy",
        ]
        .map(|command| self.table(command))
        .concat()
    }

    pub(crate) fn table(&self, command: &str) -> String {
        let saved = self.ns.sh(&format!("{command}-save -t nat"));
        let mut table = format!("# {command}\n");
        for line in saved.lines().filter(|line| !line.starts_with('#')) {
            table.push_str(line.split(" [").next().unwrap_or_default());
            table.push('\n');
        }
        table
    }
}

/// The binary under test, with nothing of this process's environment.
pub(crate) fn init_command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netting-iptables-init"));
    command.args(flags).env_clear().env("PATH", PATH);
    command
}

/// The same, with some capabilities taken away and as another user.
pub(crate) fn unprivileged_init_command(without: &[&str], uid: u32, flags: &[&str]) -> Command {
    let lost: Vec<_> = without.iter().map(|name| format!("-{name}")).collect();
    restricted_init_command(&lost.join(","), uid, flags)
}

/// The same, with the capabilities that `setpriv` makes of `capabilities`.
pub(crate) fn restricted_init_command(capabilities: &str, uid: u32, flags: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", capabilities, "--inh-caps", capabilities])
        .args(["--reuid", &uid.to_string(), "--clear-groups"])
        .arg("--no-new-privs")
        .arg(env!("CARGO_BIN_EXE_netting-iptables-init"))
        .args(flags)
        .env_clear()
        .env("PATH", PATH);
    command
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended the command"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Run {
    /// Expects a failure whose last line says each of `words`.
    pub(crate) fn fails_saying(&self, words: &[&str]) {
        assert_eq!(self.code, 1, "{self:#?}");
        let last = self.stderr.lines().last().unwrap_or_default();
        for word in words {
            assert!(last.contains(word), "{word:?} is not in {last:?}");
        }
    }
}

/// Expects `client` to arrive at `listener`; returns where it did, and where it was meant to go.
pub(crate) fn arrival(listener: &TcpListener, client: &TcpStream) -> Arrival {
    let expected = client
        .local_addr()
        .expect("a connected socket has an address");
    let (accepted, peer) = listener
        .accept()
        .unwrap_or_else(|error| panic!("{expected} did not arrive at {listener:?}: {error}"));
    assert_eq!(peer, expected, "somebody else arrived at {listener:?}");
    let socket = SockRef::from(&accepted);
    let original = match peer {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    let meant_for = original.ok().and_then(|addr| addr.as_socket());
    Arrival {
        at: accepted
            .local_addr()
            .expect("a connected socket has an address")
            .to_string(),
        meant_for: meant_for.map(|addr| addr.to_string()).unwrap_or_default(),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at: String,
    pub(crate) meant_for: String,
}

impl Arrival {
    pub(crate) fn new(at: &str, meant_for: &str) -> Self {
        Self {
            at: at.to_owned(),
            meant_for: meant_for.to_owned(),
        }
    }
}
