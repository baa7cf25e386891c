//! Whom outbound traffic goes to, as labels tell it.

use crate::{labels, snapshot::Labels};

/// A Kubernetes Service or pod that the application talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer<'p> {
    /// Name of the Service or pod.
    pub name: &'p str,
    /// Its namespace.
    pub namespace: &'p str,
    /// The port that the application uses.
    pub port: u16,
}

/// What the pod of an endpoint belongs to, which tells apart what several of them serve
/// under one peer's name, such as a release and its canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'o> {
    /// Such as `Deployment`.
    pub kind: &'o str,
    /// Its name.
    pub name: &'o str,
}

impl<'o> Owner<'o> {
    /// The conventions have none for the workload of a peer; these are the ones of
    /// OpenTelemetry's own instrumentation for what pods send each other.
    /// <https://opentelemetry.io/docs/zero-code/obi/network/config/>
    pub(crate) fn pairs(&self) -> [(&'static str, &'o str); 2] {
        [
            ("k8s.dst.owner.name", self.name),
            ("k8s.dst.owner.type", self.kind),
        ]
    }
}

impl Peer<'_> {
    /// What tells its series apart.
    /// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/service/>
    pub(crate) fn labels(&self, base: &Labels) -> Labels {
        let address = format!("{}.{}", self.name, self.namespace);
        let pairs = [
            ("server.address", address.as_str()),
            ("server.port", &self.port.to_string()),
            ("service.peer.name", self.name),
            ("service.peer.namespace", self.namespace),
        ];
        labels::with(base, &pairs)
    }
}
