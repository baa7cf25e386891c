//! A pod's network namespace with the rules and the sidecar in it, and a peer's.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use super::{
    PATIENCE,
    catalog::{self, Known},
    namespace::{Namespace, dst},
    sidecar::{self, Sidecar},
};

pub(crate) struct Pod {
    sidecar: Sidecar,
    namespace: Namespace,
    peer: Namespace,
}

impl Pod {
    /// With a catalog at the peer that knows these services, each with its endpoint.
    pub(crate) fn start(services: &[(SocketAddr, SocketAddr)]) -> Self {
        let known = Known {
            endpoints: services.iter().copied().collect(),
            ..Known::default()
        };
        Self::start_with_catalog(|listener| catalog::serve(listener, known))
    }

    /// With a catalog at the peer that is served so, on a thread of its own.
    pub(crate) fn start_with_catalog(serve: impl FnOnce(TcpListener) + Send + 'static) -> Self {
        Self::start_with(&[], serve)
    }

    /// The same, with more in the sidecar's environment.
    pub(crate) fn start_with(
        environment: &[(&str, &str)],
        serve: impl FnOnce(TcpListener) + Send + 'static,
    ) -> Self {
        let (namespace, peer) = joined();
        let listener = peer.listen(dst("10.0.0.1", 15010));
        thread::spawn(move || serve(listener));
        let pod = Self::with_sidecar(namespace, peer, environment);
        pod.wait_for("/instruments", "\nnetting_discovery_connected 1\n");
        pod
    }

    /// With the probes that the webhook would have told the sidecar, and no catalog.
    pub(crate) fn start_with_probes(probes: &str) -> Self {
        let (namespace, peer) = joined();
        Self::with_sidecar(namespace, peer, &[("NETTING_PROBES", probes)])
    }

    pub(crate) fn start_without_catalog() -> Self {
        let (namespace, peer) = joined();
        let pod = Self::with_sidecar(namespace, peer, &[]);
        pod.wait_for("/ready", "\r\n\r\nready");
        pod
    }

    fn with_sidecar(namespace: Namespace, peer: Namespace, environment: &[(&str, &str)]) -> Self {
        let pod = Self {
            sidecar: Sidecar::start_with(&namespace, environment),
            namespace,
            peer,
        };
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

    /// From now on, the peer is as if it were not there.
    pub(crate) fn peer_vanishes(&self) {
        self.peer.vanishes();
    }

    /// Makes the peer send what is for that address to the pod.
    pub(crate) fn peer_routes_to_the_pod(&self, addr: IpAddr) {
        self.peer.ip(&format!("route add {addr} via 10.0.0.2"));
    }

    /// Gives the pod another address.
    pub(crate) fn add_address(&self, addr: &str) {
        self.namespace.ip(&format!("addr add {addr} dev eth0"));
    }

    /// Runs something as the application would, on a thread of its own.
    pub(crate) fn run<R: Send>(&self, inside: impl FnOnce() -> R + Send) -> R {
        self.namespace.run(inside)
    }

    pub(crate) fn peer_run<R: Send>(&self, inside: impl FnOnce() -> R + Send) -> R {
        self.peer.run(inside)
    }

    /// Listens as the application would.
    pub(crate) fn listen(&self, at: SocketAddr) -> TcpListener {
        self.namespace.listen(at)
    }

    pub(crate) fn peer_listen(&self, at: SocketAddr) -> TcpListener {
        self.peer.listen(at)
    }

    /// Asks the admin port, from within the pod.
    pub(crate) fn admin(&self, path: &str) -> String {
        sidecar::admin(&self.namespace, path).expect("the admin port answers")
    }

    /// Waits until the admin port's answer contains something.
    pub(crate) fn wait_for(&self, path: &str, something: &str) {
        sidecar::wait_for(&self.namespace, path, something);
    }

    /// What the sidecar has in memory now, in kB.
    pub(crate) fn resident_kb(&self) -> u64 {
        self.sidecar.resident_kb()
    }

    pub(crate) fn terminate(&self) {
        self.sidecar.terminate();
    }

    /// Waits for the sidecar to end.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.sidecar.exit_code()
    }
}

/// A pod's namespace and a peer's with a veth pair between them, IPv4 and IPv6.
pub(crate) fn joined() -> (Namespace, Namespace) {
    let (pod, peer) = (Namespace::new("pod"), Namespace::new("peer"));
    pod.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {}",
        peer.name()
    ));
    for (namespace, host) in [(&pod, 2), (&peer, 1)] {
        namespace.ip(&format!("addr add 10.0.0.{host}/24 dev eth0"));
        namespace.ip(&format!("addr add fd00::{host}/64 dev eth0 nodad"));
        namespace.ip("link set eth0 up");
    }
    pod.ip("route add default via 10.0.0.1");
    pod.ip("-6 route add default via fd00::1");
    (pod, peer)
}
