//! Why a request came to nothing.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds that failures are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The host name has no address, or no name server answered.
    Resolve,
    /// No address accepted the connection.
    Connect,
    /// The time for the whole request ran out.
    Timeout,
    /// The connection ended before the answer was complete.
    Reset,
    /// What came back isn't HTTP/1.1.
    Protocol,
    /// A complete answer with a status of 400 or above.
    Status,
}

impl FailureKind {
    /// Each kind, in the order in which a request meets them.
    pub const ALL: [Self; 6] = [
        Self::Resolve,
        Self::Connect,
        Self::Timeout,
        Self::Reset,
        Self::Protocol,
        Self::Status,
    ];

    /// Its name in statistics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Status => "status",
        }
    }
}

/// A failed request: its kind, and a sentence about this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", kind.as_str())]
pub struct Failure {
    /// What it counts as.
    pub kind: FailureKind,
    /// What was tried, with what, and what came of it.
    pub reason: String,
}

impl Failure {
    /// A failure of `kind`.
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }

    /// The time ran out while `doing` something.
    #[must_use]
    pub fn timeout(doing: impl fmt::Display) -> Self {
        Self::new(FailureKind::Timeout, format!("timed out {doing}"))
    }

    /// What hyper's error means for a request that got as far as `doing` something.
    #[must_use]
    pub fn from_hyper(doing: &str, error: &hyper::Error) -> Self {
        let kind = match error.is_parse() {
            true => FailureKind::Protocol,
            false => FailureKind::Reset,
        };
        Self::new(kind, format!("{doing}: {}", with_sources(error)))
    }
}

/// An error and its causes on one line.
pub(super) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_in_statistics_and_in_failures() {
        for kind in FailureKind::ALL {
            let json = serde_json::to_value(kind).expect("a text");
            assert_eq!(json, kind.as_str());
        }
    }
}
