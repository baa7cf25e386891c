//! What is known of a protocol before anybody speaks.

/// What Kubernetes objects say of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It is none that a proxy would look into.
    Opaque,
    /// The client speaks first, and says itself which protocol it is.
    ClientFirst,
}

impl Hint {
    /// Reads an `appProtocol`, or the protocol that a port's name begins with.
    #[must_use]
    pub fn of(named: &str) -> Option<Self> {
        const CLIENT_FIRST: [&str; 12] = [
            "grpc",
            "grpc-web",
            "h2c",
            "http",
            "http2",
            "https",
            "kubernetes.io/h2c",
            "kubernetes.io/ws",
            "kubernetes.io/wss",
            "tls",
            "ws",
            "wss",
        ];
        const OPAQUE: [&str; 11] = [
            "amqp",
            "kafka",
            "memcached",
            "mongo",
            "mysql",
            "nats",
            "postgres",
            "postgresql",
            "redis",
            "smtp",
            "tcp",
        ];
        let is = |known: &&str| named.eq_ignore_ascii_case(known);
        if CLIENT_FIRST.iter().any(is) {
            return Some(Hint::ClientFirst);
        }
        OPAQUE.iter().any(is).then_some(Hint::Opaque)
    }

    /// As in `/config`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Hint::Opaque => "opaque",
            Hint::ClientFirst => "client_first",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_of_three_kinds() {
        for unknown in ["", "web", "kubernetes.io/quic", "dns"] {
            assert_eq!(Hint::of(unknown), None, "{unknown}");
        }
        for opaque in ["tcp", "redis", "MySQL"] {
            assert_eq!(Hint::of(opaque), Some(Hint::Opaque), "{opaque}");
        }
        for first in ["http", "HTTP", "grpc", "https", "kubernetes.io/h2c"] {
            assert_eq!(Hint::of(first), Some(Hint::ClientFirst), "{first}");
        }
    }
}
