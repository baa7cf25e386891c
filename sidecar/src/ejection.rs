//! Leaving endpoints out that fail again and again.
//!
//! An endpoint that fails a number of times in a row is ejected, and one that fails far
//! more often than its siblings ([`Rates`]). It comes back by itself; if it fails then,
//! it is ejected at once, and for twice as long.

use std::time::Duration;

use tokio::time::Instant;

mod rates;

pub use rates::{Rate, Rates};

/// The longest that an endpoint is ejected for.
const EJECTED_MAX: Duration = Duration::from_secs(300);
/// By this share at most, an ejection is longer or shorter than it would be, so that
/// not all clients come back at once.
const JITTER: f64 = 0.2;

/// How a request, or a connect, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered; be it with a 4xx, which is the client's doing.
    Success,
    /// The application answered that it failed (500 and others, gRPC INTERNAL,
    /// UNKNOWN, DATA_LOSS). It may be the request's fault: counts neither way, unless
    /// siblings of the endpoint answer better.
    ServerError,
    /// The endpoint, or what it stands for, answered that it can't serve (502, 503,
    /// 504, gRPC UNAVAILABLE).
    Unavailable,
    /// It could not be connected.
    ConnectFailed,
    /// It refused the request before looking at it (HTTP/2 REFUSED_STREAM, or a
    /// GOAWAY that names an earlier stream). It does so when it restarts.
    Refused,
    /// It broke off, before or amid its response.
    Reset,
    /// It didn't answer in time.
    TimedOut,
    /// The client went away first: says nothing of the endpoint.
    Cancelled,
}

impl Outcome {
    /// What an HTTP response says by its status.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Outcome::Unavailable,
            500..=599 => Outcome::ServerError,
            _ => Outcome::Success,
        }
    }

    /// What a gRPC response says by its `grpc-status`
    /// (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
    #[must_use]
    pub fn of_grpc_status(code: u32) -> Self {
        match code {
            14 => Outcome::Unavailable,
            2 | 13 | 15 => Outcome::ServerError,
            _ => Outcome::Success,
        }
    }

    /// Whether it counts as a failure of the endpoint; `None` if neither way.
    #[must_use]
    pub fn is_failure(self) -> Option<bool> {
        match self {
            Outcome::Success => Some(false),
            Outcome::Unavailable | Outcome::ConnectFailed | Outcome::Reset | Outcome::TimedOut => {
                Some(true)
            }
            Outcome::ServerError | Outcome::Refused | Outcome::Cancelled => None,
        }
    }

    /// Whether it counts as a failure beside what siblings of the endpoint answer;
    /// `None` if neither way.
    #[must_use]
    pub fn is_failure_beside_others(self) -> Option<bool> {
        match self {
            Outcome::ServerError => Some(true),
            outcome => outcome.is_failure(),
        }
    }

    /// Whether the time that it took says how fast the endpoint is. To fail is
    /// often fast, and must not attract more.
    #[must_use]
    pub fn is_measure(self) -> bool {
        self == Outcome::Success
    }
}

/// An endpoint's history of ejections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ejections {
    /// How often it was ejected without having been well in between.
    times: u32,
    /// The last one: when it ended, or ends, and how long it lasted.
    last: Option<(Instant, Duration)>,
}

impl Ejections {
    /// Ejects for `base`, doubled for each time before unless the endpoint has been
    /// well for as long as it was out. `jitter` is random, from 0 to 1. Returns when
    /// it ends.
    pub fn eject(&mut self, base: Duration, jitter: f64, now: Instant) -> Instant {
        if let Some((ended, lasted)) = self.last
            && now.saturating_duration_since(ended) >= lasted
        {
            self.times = 0;
        }
        let doubled = base.saturating_mul(2_u32.saturating_pow(self.times));
        let lasts = doubled.min(EJECTED_MAX.max(base));
        let lasts = lasts.mul_f64(1.0 + JITTER * (2.0 * jitter - 1.0));
        self.times = self.times.saturating_add(1);
        self.last = Some((now + lasts, lasts));
        now + lasts
    }

    /// Ends an ejection early.
    pub fn end(&mut self, now: Instant) {
        if let Some((ends, _)) = &mut self.last {
            *ends = now.min(*ends);
        }
    }

    /// When it ends, if it is ejected now.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let (ends, _) = self.last?;
        (now < ends).then_some(ends)
    }

    /// Whether it came back lately, so that one failure is enough.
    #[must_use]
    pub fn is_on_probation(&self, now: Instant) -> bool {
        let since = |ended: Instant| now.saturating_duration_since(ended);
        self.last
            .is_some_and(|(ended, lasted)| now >= ended && since(ended) < lasted)
    }
}

/// Whether one more of so many endpoints may be ejected: half of them stay, whatever
/// happens. If all of them fail, it is better to ask them than to ask nobody.
#[must_use]
pub fn may_eject_one_more(ejected: usize, endpoints: usize) -> bool {
    (ejected + 1) * 2 <= endpoints
}

#[cfg(test)]
mod tests;
