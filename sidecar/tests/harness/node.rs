//! A node, whose pods are joined by a bridge.

use std::ops::{Deref, RangeInclusive};

use super::namespace::Namespace;

/// A node's namespace, with the address 10.0.0.1, which is where its catalog listens.
pub(crate) struct Node(Namespace);

impl Node {
    /// Without pods yet.
    pub(crate) fn new() -> Self {
        let node = Namespace::new("node");
        // With an address of its own: else it has the least of its pods', which changes as
        // they come, and those that know the old one are not heard for some seconds.
        node.ip("link add br0 address 02:00:00:00:00:01 type bridge");
        node.ip("addr add 10.0.0.1/24 dev br0");
        node.ip("link set br0 up");
        Self(node)
    }

    /// A pod's namespace, at an address of 10.0.0.0/24. The role is also what its
    /// interface is called on the node, which leaves it 15 letters.
    pub(crate) fn pod(&self, role: &str, addr: &str) -> Namespace {
        let pod = Namespace::new(role);
        pod.ip(&format!(
            "link add eth0 type veth peer name {role} netns {}",
            self.name()
        ));
        pod.ip(&format!("addr add {addr}/24 dev eth0"));
        pod.ip("link set eth0 up");
        pod.ip("route add default via 10.0.0.1");
        self.ip(&format!("link set {role} master br0 up"));
        pod
    }

    /// Keeps what clients say to these ports of the node, and their new connections, on
    /// its way until that is dropped. What the node says still gets there.
    pub(crate) fn hold_back(&self, ports: RangeInclusive<u16>) -> HeldBack<'_> {
        let held = HeldBack { node: self, ports };
        assert!(held.iptables("-I"), "this test needs root and iptables");
        held
    }
}

impl Deref for Node {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.0
    }
}

/// As of [`Node::hold_back`].
pub(crate) struct HeldBack<'n> {
    node: &'n Node,
    ports: RangeInclusive<u16>,
}

impl HeldBack<'_> {
    /// Each write of theirs ends with a segment that has PSH (RFC 9293 section 3.9.1),
    /// bare acknowledgements have not.
    fn iptables(&self, what: &str) -> bool {
        let ports = format!("{}:{}", self.ports.start(), self.ports.end());
        let mut iptables = self.node.command(&[], "iptables");
        let rule = ["INPUT", "-p", "tcp", "--dport", &ports];
        let says = ["!", "--tcp-flags", "SYN,PSH", "NONE", "-j", "DROP"];
        let status = iptables.arg(what).args(rule).args(says).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        // A failure leaves the rule until the namespace goes; panicking here would hide the
        // test's own.
        let _ = self.iptables("-D");
    }
}
