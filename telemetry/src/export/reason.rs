//! Why something did not arrive.

use std::time::Duration;

/// Why an attempt failed, or what was to be sent is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The name has no address, or nobody answers for it.
    Resolve,
    /// Nobody accepts a connection.
    Connect,
    /// They don't agree on TLS, or the certificate is not to be trusted.
    Tls,
    /// No answer in time.
    Timeout,
    /// The connection ended, or the answer is no answer.
    Broken,
    /// The backend is there, but not now: 429, 5xx, `UNAVAILABLE`.
    Unavailable,
    /// The backend does not want it, and would not later: 4xx, `INVALID_ARGUMENT`.
    Refused,
    /// The backend took the rest.
    Rejected,
    /// No datagram has room for it.
    TooLong,
    /// What waits is bounded, and this has waited longest.
    QueueFull,
    /// The process ended first.
    Shutdown,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Broken,
        Self::Unavailable,
        Self::Refused,
        Self::Rejected,
        Self::TooLong,
        Self::QueueFull,
        Self::Shutdown,
    ];

    /// For logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::TooLong => "too_long",
            Self::QueueFull => "queue_full",
            Self::Shutdown => "shutdown",
        }
    }
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why, for the counters.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// Whether another attempt may be made.
    pub retry: Retry,
}

/// Whether it makes sense to send the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again, or arrive twice.
    Never,
    /// When we like.
    Later,
    /// Not before that, says the backend.
    After(Duration),
}

impl Failure {
    /// One after which the same may be sent again.
    pub(crate) fn transient(reason: Reason, message: impl ToString) -> Self {
        Self {
            reason,
            message: message.to_string(),
            retry: Retry::Later,
        }
    }

    /// One that is the end of what was to be sent.
    pub(crate) fn lasting(reason: Reason, message: impl ToString) -> Self {
        Self {
            retry: Retry::Never,
            ..Self::transient(reason, message)
        }
    }
}
