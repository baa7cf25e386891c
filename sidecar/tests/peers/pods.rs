//! A client's pod and a server's, meshed or not.

use std::{
    fmt::Debug,
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
};

use crate::harness::{
    PATIENCE,
    catalog::{self, Known},
    namespace::{Namespace, dst},
    node::Node,
    sidecar::{self, Sidecar},
};

/// The Service that the client calls. In a mesh the client's sidecar chooses the
/// server's pod; without one the address leads there as well.
pub(crate) const SERVICE: &str = "192.0.2.10";

/// The server's pod, which is the Service's one endpoint.
pub(crate) const ENDPOINT: &str = "10.0.0.3";

/// Ports of the Service, each of them the server's own.
const PORTS: [u16; 11] = [21, 22, 25, 80, 443, 2121, 3306, 5432, 6379, 8080, 50051];

/// Two pods and their node, which are joined by a bridge.
pub(crate) struct Pods {
    /// The client's and the server's, in a mesh.
    pub(crate) sidecars: Vec<Sidecar>,
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
    pub(crate) node: Node,
}

impl Pods {
    /// Without sidecars yet.
    pub(crate) fn new() -> Self {
        let node = Node::new();
        let client = node.pod("client", "10.0.0.2");
        let server = node.pod("server", ENDPOINT);
        client.ip(&format!("route add {SERVICE} via {ENDPOINT}"));
        server.ip(&format!("addr add {SERVICE} dev lo"));
        Self {
            sidecars: Vec::new(),
            client,
            server,
            node,
        }
    }

    /// A program as it would be called in the client's pod; ended if it hangs.
    pub(crate) fn client_command(&self, program: &str) -> Command {
        let mut command = self.client.command(&[], "timeout");
        command
            .args(["--kill-after=1", "30", program])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Connects as the client would.
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        let stream = self
            .client
            .run(|| TcpStream::connect_timeout(&dst(SERVICE, port), PATIENCE))
            .expect("the server is there");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket can be set so");
        stream
    }

    /// Puts the rules, sidecars and a catalog there.
    pub(crate) fn mesh(&mut self) {
        self.mesh_with([&[], &[]]);
    }

    /// The same, with variables for the client's sidecar and the server's.
    pub(crate) fn mesh_with(&mut self, variables: [&[(&str, &str)]; 2]) {
        let listener = self.node.listen(dst("10.0.0.1", 15010));
        let served =
            |port| -> (SocketAddr, SocketAddr) { (dst(SERVICE, port), dst(ENDPOINT, port)) };
        let known = Known {
            endpoints: PORTS.map(served).into(),
            ..Known::default()
        };
        thread::spawn(move || catalog::serve(listener, known));
        self.start_sidecars(variables);
    }

    /// The same beside a catalog that is there already.
    pub(crate) fn start_sidecars(&mut self, variables: [&[(&str, &str)]; 2]) {
        for (pod, variables) in [&self.client, &self.server].into_iter().zip(variables) {
            self.sidecars.push(Sidecar::start_with(pod, variables));
        }
        for pod in [&self.client, &self.server] {
            sidecar::wait_for(pod, "/instruments", "\nnetting_discovery_connected 1\n");
        }
    }

    /// Makes the same calls without the mesh and then with it, and returns what both
    /// times came of each.
    pub(crate) fn same<C: Debug, T: Debug + PartialEq>(
        mut self,
        calls: &[C],
        make: impl Fn(&Self, &C) -> T,
    ) -> Vec<T> {
        let direct: Vec<T> = calls.iter().map(|call| make(&self, call)).collect();
        self.mesh();
        for (call, direct) in calls.iter().zip(&direct) {
            let meshed = make(&self, call);
            assert_eq!(&meshed, direct, "meshed (left), direct (right): {call:?}");
        }
        self.assert_passed_both_sidecars();
        direct
    }

    /// Otherwise the calls would be the same because nothing was in their way.
    fn assert_passed_both_sidecars(&self) {
        for (pod, direction) in [(&self.client, "outbound"), (&self.server, "inbound")] {
            let metrics = sidecar::admin(pod, "/instruments").expect("the admin port answers");
            let opened =
                format!("netting_tcp_connections_opened_total{{direction=\"{direction}\"}} ");
            let count = metrics.lines().find_map(|line| line.strip_prefix(&opened));
            assert!(
                count.is_some_and(|count| count != "0"),
                "nothing went {direction} through the sidecar: {metrics}"
            );
            let around = r#"direction="outbound",reason="unknown_address""#;
            assert!(!metrics.contains(around), "not by the Service: {metrics}");
        }
    }
}
