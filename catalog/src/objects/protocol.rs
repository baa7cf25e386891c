//! The protocol that a Kubernetes port names.

/// Protocols that a port's name may begin with. Each is its own word: `web` and
/// `metrics` say what a port is for, not what is spoken on it.
const NAMES: [&str; 18] = [
    "amqp",
    "grpc",
    "grpc-web",
    "h2c",
    "http",
    "http2",
    "https",
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
    "tls",
];

/// The protocol of a port: its `appProtocol` as it stands, else the protocol that
/// its name is or begins with (`http-metrics` is `http`), else empty.
#[must_use]
pub fn hint<'a>(app_protocol: Option<&'a str>, port_name: &'a str) -> &'a str {
    if let Some(named) = app_protocol.filter(|named| !named.is_empty()) {
        return named;
    }
    let begins = |name: &&str| {
        let rest = port_name.strip_prefix(*name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let longest = NAMES.into_iter().filter(begins).max_by_key(|n| n.len());
    longest.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_nothing_of_a_name_that_is_no_protocol() {
        for name in ["", "web", "httpd", "http_x", "metrics-http", "tcpmux"] {
            assert_eq!(hint(None, name), "", "{name}");
        }
    }

    #[test]
    fn takes_the_longest_protocol_that_a_name_begins_with() {
        for (name, protocol) in [
            ("http", "http"),
            ("http-metrics", "http"),
            ("http2-api", "http2"),
            ("grpc-web", "grpc-web"),
            ("grpc-web-public", "grpc-web"),
            ("grpc-webhook", "grpc"),
            ("mysql-primary", "mysql"),
        ] {
            assert_eq!(hint(None, name), protocol, "{name}");
        }
    }

    #[test]
    fn an_app_protocol_comes_before_the_name() {
        assert_eq!(hint(Some("kubernetes.io/h2c"), "http"), "kubernetes.io/h2c");
        assert_eq!(hint(Some(""), "http"), "http");
    }
}
