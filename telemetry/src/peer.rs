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
