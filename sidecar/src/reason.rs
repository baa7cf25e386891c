//! Why the sidecar did what it did.

use std::io;

/// A named reason: the field in logs, the label in metrics, and what `/config` and
/// the CLI show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    // Passed through to the original destination.
    /// The catalog says that no service and no workload has the address.
    UnknownAddress,
    /// There is no stream to the catalog, and nothing known of the address from before.
    CatalogUnavailable,
    /// The catalog did not answer within the discovery timeout.
    CatalogSilent,
    /// The service has no endpoint that could serve; the original destination
    /// says so in its own way.
    NoEndpoints,
    /// The application connects to its own pod's address.
    OwnAddress,
    /// As many addresses are followed as may be.
    TooManyDestinations,

    // Refused.
    /// The connection was made to the sidecar's port itself.
    NotRedirected,
    /// The connection was going to one of the sidecar's own ports.
    OwnPort,
    /// A connection from outside was going to loopback.
    LoopbackDestination,
    /// A connection from outside was going to an address that is not the pod's.
    ForeignDestination,
    /// As many connections are open as may be.
    TooManyConnections,

    // The upstream could not be connected.
    /// It refused (a reset in answer to SYN).
    ConnectRefused,
    /// It did not answer in time.
    ConnectTimeout,
    /// There is no route to it.
    ConnectUnreachable,
    /// The pod has no address or port left for a connection to it (`EADDRNOTAVAIL`):
    /// as many connections to this endpoint are open as `net.ipv4.ip_local_port_range`
    /// has ports, or the pod has no address of its IP family.
    LocalAddressUnavailable,
    /// The sidecar may open no more files, or there is no memory for another socket.
    LocalResourcesExhausted,
    /// Something else went wrong with the connect.
    ConnectFailed,

    // A request was answered by the sidecar itself, or broken off.
    /// The request breaks the rules of its protocol.
    RequestMalformed,
    /// The request's head is larger than it may be.
    RequestHeadTooLarge,
    /// The request's head did not come to its end in time.
    RequestHeadTimeout,
    /// The upstream closed the connection instead of answering.
    UpstreamClosed,
    /// The upstream was silent, and gave no sign of life when it was asked for one.
    UpstreamSilent,
    /// The response breaks the rules of its protocol.
    ResponseMalformed,
    /// The response's head is larger than it may be.
    ResponseHeadTooLarge,
    /// The upstream refused the stream before it looked at the request.
    StreamRefused,
    /// The response did not come, or not to its end, in the time that the service allows.
    ResponseTimeout,
    /// As many requests wait for an answer as the service allows.
    TooManyPending,
    /// The upstream does not take another protocol over HTTP/2 (RFC 8441).
    ConnectProtocolUnsupported,
    /// The response has a status after which the service wants another try.
    ResponseUnwanted,

    // A bound was reached, and nobody harmed.
    /// As many upstream connections are kept for requests as may be: one is closed.
    PoolFull,
    /// The client has as many streams open as it may.
    TooManyStreams,
    /// The service has been sent as many retries as it may be: there is no other try.
    RetryBudgetSpent,
    /// The endpoint takes no more streams, over as many connections as it is given:
    /// another one waits.
    UpstreamFull,

    // An endpoint was ejected.
    /// It failed a number of times in a row.
    FailuresInARow,
    /// It fails far more often than its siblings.
    LowSuccessRate,

    // How an established connection ended.
    /// The client broke the rules of HTTP/2.
    ProtocolError,
    /// The client opened and reset streams, or broke their rules, too often.
    TooManyResets,
    /// It was not used for as long as it may be.
    IdleTimeout,
    /// It was not in use when the sidecar was told to end.
    Draining,
    /// Both sides said that they are finished.
    Finished,
    /// The downstream broke the connection off.
    DownstreamReset,
    /// The upstream broke the connection off.
    UpstreamReset,
}

impl Reason {
    /// As it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::UnknownAddress => "unknown_address",
            Reason::CatalogUnavailable => "catalog_unavailable",
            Reason::CatalogSilent => "catalog_silent",
            Reason::NoEndpoints => "no_endpoints",
            Reason::OwnAddress => "own_address",
            Reason::TooManyDestinations => "too_many_destinations",
            Reason::NotRedirected => "not_redirected",
            Reason::OwnPort => "own_port",
            Reason::LoopbackDestination => "loopback_destination",
            Reason::ForeignDestination => "foreign_destination",
            Reason::TooManyConnections => "too_many_connections",
            Reason::ConnectRefused => "connect_refused",
            Reason::ConnectTimeout => "connect_timeout",
            Reason::ConnectUnreachable => "connect_unreachable",
            Reason::LocalAddressUnavailable => "local_address_unavailable",
            Reason::LocalResourcesExhausted => "local_resources_exhausted",
            Reason::ConnectFailed => "connect_failed",
            Reason::RequestMalformed => "request_malformed",
            Reason::RequestHeadTooLarge => "request_head_too_large",
            Reason::RequestHeadTimeout => "request_head_timeout",
            Reason::UpstreamClosed => "upstream_closed",
            Reason::UpstreamSilent => "upstream_silent",
            Reason::ResponseMalformed => "response_malformed",
            Reason::ResponseHeadTooLarge => "response_head_too_large",
            Reason::StreamRefused => "stream_refused",
            Reason::ResponseTimeout => "response_timeout",
            Reason::TooManyPending => "too_many_pending",
            Reason::ConnectProtocolUnsupported => "connect_protocol_unsupported",
            Reason::ResponseUnwanted => "response_unwanted",
            Reason::PoolFull => "pool_full",
            Reason::TooManyStreams => "too_many_streams",
            Reason::RetryBudgetSpent => "retry_budget_spent",
            Reason::UpstreamFull => "upstream_full",
            Reason::FailuresInARow => "failures_in_a_row",
            Reason::LowSuccessRate => "low_success_rate",
            Reason::ProtocolError => "protocol_error",
            Reason::TooManyResets => "too_many_resets",
            Reason::IdleTimeout => "idle_timeout",
            Reason::Draining => "draining",
            Reason::Finished => "finished",
            Reason::DownstreamReset => "downstream_reset",
            Reason::UpstreamReset => "upstream_reset",
        }
    }

    /// Why a connect failed (errors of socket(2) and connect(2)).
    #[must_use]
    pub fn of_connect(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE) => return Reason::LocalAddressUnavailable,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                return Reason::LocalResourcesExhausted;
            }
            _ => {}
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Reason::ConnectRefused,
            io::ErrorKind::TimedOut => Reason::ConnectTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Reason::ConnectUnreachable
            }
            _ => Reason::ConnectFailed,
        }
    }

    /// Whether a connect failed for want of something here, which says nothing of where
    /// it was going.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(
            self,
            Reason::LocalAddressUnavailable | Reason::LocalResourcesExhausted
        )
    }

    /// Whether another connect may succeed where this one failed. What the sidecar lacks
    /// for one endpoint it lacks for all, but for ports: those are counted for each.
    #[must_use]
    pub fn may_work_elsewhere(self) -> bool {
        self != Reason::LocalResourcesExhausted
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_here_is_told_from_what_is_wrong_there() {
        for (errno, reason, is_local) in [
            (libc::ECONNREFUSED, Reason::ConnectRefused, false),
            (libc::ETIMEDOUT, Reason::ConnectTimeout, false),
            (libc::EHOSTUNREACH, Reason::ConnectUnreachable, false),
            (libc::ENETUNREACH, Reason::ConnectUnreachable, false),
            (libc::EPERM, Reason::ConnectFailed, false),
            (libc::EADDRNOTAVAIL, Reason::LocalAddressUnavailable, true),
            (libc::EMFILE, Reason::LocalResourcesExhausted, true),
            (libc::ENFILE, Reason::LocalResourcesExhausted, true),
            (libc::ENOBUFS, Reason::LocalResourcesExhausted, true),
            (libc::ENOMEM, Reason::LocalResourcesExhausted, true),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(Reason::of_connect(&error), reason, "{error}");
            assert_eq!(reason.is_local(), is_local, "{reason}");
        }
    }
}
