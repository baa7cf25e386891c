//! How a service wants to be treated: what its annotations say, as the catalog
//! parsed them.

use std::time::Duration;

use netting_proto::v1;

mod retry;
mod tries;

pub use retry::{Attempt, Failure, GaveUp, Kind, Next, Reported};
pub use tries::{FailedTry, Tried, Tries};

/// Tries beyond the first, if the service doesn't say.
const RETRIES: u32 = 2;
/// Failures in a row after which an endpoint is ejected, if the service doesn't say.
const EJECT_AFTER: u32 = 5;
/// By how much its share of failures has to be larger than that of its siblings for an
/// endpoint to be ejected, if the service doesn't say.
const EJECT_GAP: f64 = 0.3;
/// How long it is ejected the first time, if the service doesn't say.
const EJECT_FOR: Duration = Duration::from_secs(10);

/// A service's policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How long a request may take with all its tries, until the response's end.
    pub timeout: Option<Duration>,
    /// How long one try may take, until the response's head.
    pub per_try_timeout: Option<Duration>,
    /// Tries beyond the first. What no endpoint has looked at is sent once more also
    /// without any.
    pub retries: u32,
    /// When to try again, beyond what is safe: failed connects and refused streams.
    pub retry_on: RetryOn,
    /// Requests from this sidecar that may wait for an answer at a time.
    pub max_pending: Option<u32>,
    /// Failures in a row after which an endpoint is ejected; `None` for never.
    pub eject_after: Option<u32>,
    /// By how much its share of failures has to be larger than that of its siblings, from
    /// 0 to 1, for an endpoint to be ejected; `None` for never.
    pub eject_gap: Option<f64>,
    /// How long an endpoint is ejected the first time.
    pub eject_for: Duration,
}

/// When to try a request again that an endpoint may have worked on. The service says
/// so for idempotent methods; for calls of gRPC, all of which are POST, it says by
/// naming a code that they are idempotent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// The connection broke before the response's head.
    pub reset: bool,
    /// These statuses, sorted; a try that timed out counts as 504.
    pub statuses: Vec<u16>,
    /// These codes of gRPC, sorted.
    pub grpc_codes: Vec<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: None,
            per_try_timeout: None,
            retries: RETRIES,
            retry_on: RetryOn::default(),
            max_pending: None,
            eject_after: Some(EJECT_AFTER),
            eject_gap: Some(EJECT_GAP),
            eject_for: EJECT_FOR,
        }
    }
}

impl From<v1::ServicePolicy> for Policy {
    /// Numbers that can't be meant count as not said: only a catalog that is not
    /// ours would send them.
    fn from(said: v1::ServicePolicy) -> Self {
        let default = Self::default();
        let millis = |ms: Option<u64>| ms.filter(|ms| *ms > 0).map(Duration::from_millis);
        Self {
            timeout: millis(said.timeout_ms),
            per_try_timeout: millis(said.per_try_timeout_ms),
            retries: said.retries.unwrap_or(default.retries),
            retry_on: said.retry_on.map(RetryOn::from).unwrap_or_default(),
            max_pending: said.max_pending.filter(|max| *max > 0),
            eject_after: match said.eject_after {
                None => default.eject_after,
                Some(0) => None,
                some => some,
            },
            eject_gap: match said.eject_gap_percent {
                // Who wants no endpoint ejected for failures in a row, wants none ejected.
                None if said.eject_after == Some(0) => None,
                None => default.eject_gap,
                Some(0) => None,
                Some(percent) => Some(f64::from(percent) / 100.0),
            },
            eject_for: millis(said.eject_for_ms).unwrap_or(default.eject_for),
        }
    }
}

impl From<v1::RetryOn> for RetryOn {
    fn from(said: v1::RetryOn) -> Self {
        let statuses = said.statuses.into_iter();
        let mut retry_on = Self {
            reset: said.reset,
            statuses: statuses.filter_map(|s| u16::try_from(s).ok()).collect(),
            grpc_codes: said.grpc_codes,
        };
        retry_on.statuses.sort_unstable();
        retry_on.grpc_codes.sort_unstable();
        retry_on
    }
}

impl RetryOn {
    /// Whether a response of this status is to be followed by another try.
    #[must_use]
    pub fn status(&self, status: u16) -> bool {
        self.statuses.binary_search(&status).is_ok()
    }

    /// Whether a response of gRPC with this code is.
    #[must_use]
    pub fn grpc_code(&self, code: u32) -> bool {
        self.grpc_codes.binary_search(&code).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_by_default() {
        let nothing = v1::ServicePolicy::default();
        assert_eq!(Policy::from(nothing), Policy::default());
    }

    #[test]
    fn what_is_said_counts() {
        let said = v1::ServicePolicy {
            timeout_ms: Some(2_000),
            per_try_timeout_ms: Some(0),
            retries: Some(0),
            retry_on: Some(v1::RetryOn {
                reset: true,
                statuses: vec![504, 70_000, 503],
                grpc_codes: vec![14, 4],
            }),
            max_pending: Some(0),
            eject_after: Some(0),
            eject_for_ms: Some(500),
            eject_gap_percent: Some(10),
        };
        let policy = Policy::from(said);
        assert_eq!(policy.timeout, Some(Duration::from_secs(2)));
        assert_eq!(policy.per_try_timeout, None);
        assert_eq!(policy.retries, 0);
        assert!(policy.retry_on.reset);
        assert!(policy.retry_on.status(503) && !policy.retry_on.status(500));
        assert!(policy.retry_on.grpc_code(4) && !policy.retry_on.grpc_code(13));
        assert_eq!(policy.max_pending, None);
        assert_eq!(policy.eject_after, None);
        assert_eq!(policy.eject_gap, Some(0.1));
        assert_eq!(policy.eject_for, Duration::from_millis(500));
    }
}
