//! How a service wants to be treated: what its annotations say, as the catalog
//! parsed them.

use std::time::Duration;

/// Tries beyond the first, if the service doesn't say.
const RETRIES: u32 = 2;
/// Failures in a row after which an endpoint is ejected, if the service doesn't say.
const EJECT_AFTER: u32 = 5;
/// How long it is ejected the first time, if the service doesn't say.
const EJECT_FOR: Duration = Duration::from_secs(10);

/// A service's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a request may take with all its tries, until the response's head.
    pub timeout: Option<Duration>,
    /// How long one try may take, until the response's head.
    pub per_try_timeout: Option<Duration>,
    /// Tries beyond the first.
    pub retries: u32,
    /// When to try again, beyond what is safe: failed connects and refused streams.
    pub retry_on: RetryOn,
    /// Requests from this sidecar that may wait for an answer at a time.
    pub max_pending: Option<u32>,
    /// Failures in a row after which an endpoint is ejected; `None` for never.
    pub eject_after: Option<u32>,
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
            eject_for: EJECT_FOR,
        }
    }
}
