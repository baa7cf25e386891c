//! What is done with a choice, and how it is told what came of it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use netting_telemetry::traffic::Traffic;
use tokio::time::Instant;

use super::{Endpoint, candidates::Candidates};
use crate::{addr::EndpointAddr, balance::Unit, ejection::Outcome, reason::Reason};

/// A choice. It counts as pending at its endpoint until it is dropped.
#[derive(Debug)]
pub struct Chosen {
    endpoint: Arc<Endpoint>,
    among: Arc<Candidates>,
    unit: Unit,
    /// What it shows of its endpoint is known.
    has_shown: bool,
}

/// A request that is on its way to its endpoint, or whose response is still coming.
/// Keep it until the response has ended. Dropped without a word, it was cancelled.
#[derive(Debug)]
pub struct InFlight {
    chosen: Chosen,
    begun: Instant,
    recorded: bool,
}

impl Chosen {
    pub(super) fn new(endpoint: Arc<Endpoint>, among: Arc<Candidates>, unit: Unit) -> Self {
        endpoint.record.pending.fetch_add(1, Relaxed);
        if unit == Unit::Request {
            endpoint.record.requests.fetch_add(1, Relaxed);
        }
        Self {
            endpoint,
            among,
            unit,
            has_shown: false,
        }
    }

    /// Where to connect to.
    #[must_use]
    pub fn addr(&self) -> EndpointAddr {
        self.endpoint.addr
    }

    /// What was chosen. Keep it beside an idle connection, to ask whether it
    /// [is current](Endpoint::is_current).
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The connect succeeded. Whether the endpoint is of use, it has yet to show: a
    /// sidecar accepts connections to an application that is not there.
    pub fn connected(&self, took: Duration, now: Instant) {
        let record = &self.endpoint.record;
        record.opened.fetch_add(1, Relaxed);
        record.took(Unit::Connection, took, now);
    }

    /// What a connection that is relayed to it shows of the endpoint. The first thing
    /// counts.
    pub fn showed(&mut self, outcome: Outcome, now: Instant) {
        if !std::mem::replace(&mut self.has_shown, true) {
            self.came_to(outcome, true, now);
        }
    }

    /// Whether it has shown something.
    #[must_use]
    pub fn has_shown(&self) -> bool {
        self.has_shown
    }

    /// The connect failed.
    pub fn failed(&self, now: Instant) {
        self.endpoint.record.failed.fetch_add(1, Relaxed);
        self.endpoint.record.avoid(now);
        self.came_to(Outcome::ConnectFailed, true, now);
    }

    /// The request is about to be sent.
    #[must_use]
    pub fn begin(self, now: Instant) -> InFlight {
        self.endpoint.record.sent.fetch_add(1, Relaxed);
        InFlight {
            chosen: self,
            begun: now,
            recorded: false,
        }
    }

    /// `is_first` unless something else was said of the same request before.
    fn came_to(&self, outcome: Outcome, is_first: bool, now: Instant) {
        let record = &self.endpoint.record;
        let failed = outcome.is_failure_beside_others();
        if let Some(failed) = failed {
            record.ended(failed, is_first, now);
        }
        let in_a_row = match (outcome.is_failure(), self.among.policy.eject_after) {
            (Some(false), _) => return record.succeeded(now),
            (Some(true), Some(eject_after)) => record.failed_too_often(eject_after, now),
            _ => false,
        };
        if in_a_row {
            self.eject(Reason::FailuresInARow, now);
        } else if failed == Some(true)
            && record.is_to_be_compared(now)
            && self.among.stands_out(&self.endpoint, now)
        {
            self.eject(Reason::LowSuccessRate, now);
        }
    }

    fn eject(&self, reason: Reason, now: Instant) {
        let (record, endpoint) = (&self.endpoint.record, self.endpoint.addr);
        if record.ejected_until(now).is_some() {
            return;
        }
        if self.among.may_eject(now) {
            let lasts = record.eject(self.among.policy.eject_for, now);
            self.among.shared.ejected(&self.endpoint, reason);
            tracing::info!(%endpoint, %reason, ?lasts, "ejected an endpoint");
        } else {
            tracing::debug!(%endpoint, %reason, "not ejected, for half of them must stay");
        }
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.endpoint.record.pending.fetch_sub(1, Relaxed);
        if self.unit == Unit::Request {
            self.endpoint.record.requests.fetch_sub(1, Relaxed);
        }
    }
}

impl InFlight {
    /// Where it was sent.
    #[must_use]
    pub fn addr(&self) -> EndpointAddr {
        self.chosen.addr()
    }

    /// What it was sent to, as of [`Chosen::endpoint`].
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.chosen.endpoint()
    }

    /// The instruments for what goes there, of all that goes to its service.
    #[must_use]
    pub(crate) fn traffic<'t>(&'t self, all: &'t Traffic) -> &'t Traffic {
        self.endpoint().traffic(all)
    }

    /// What came of it: call it when the response's head is there, or isn't going
    /// to be. It may be called once more if the response breaks off, or if it
    /// turns out by its trailers to be a failure.
    pub fn record(&mut self, outcome: Outcome, now: Instant) {
        let record = &self.chosen.endpoint.record;
        let took = now.saturating_duration_since(self.begun);
        let is_first = !std::mem::replace(&mut self.recorded, true);
        match outcome {
            _ if !is_first => {}
            _ if outcome.is_measure() => record.took(Unit::Request, took, now),
            Outcome::TimedOut | Outcome::Cancelled => {
                record.took_at_least(Unit::Request, took, now);
            }
            _ => {}
        }
        self.chosen.came_to(outcome, is_first, now);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.recorded {
            self.record(Outcome::Cancelled, Instant::now());
        }
    }
}
