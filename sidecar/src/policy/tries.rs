//! The tries of one request, as its destination's policy has them.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use super::{Attempt, Failure, GaveUp, Kind, Next};
use crate::{
    addr::EndpointAddr,
    balance::Unit,
    destination::{Chosen, Destination, Waiting},
    reason::Reason,
};

/// Where a request may be sent, how long it may take, and whether once more.
#[derive(Debug)]
pub struct Tries {
    /// What was known when the last try was granted. Nothing, if there is only one place
    /// where the request can go.
    known: Option<Arc<Destination>>,
    kind: Kind,
    tried: Vec<EndpointAddr>,
    retries: u32,
    deadline: Option<Instant>,
    waiting: Option<Waiting>,
    is_budget_spent: bool,
}

/// What came of one try.
#[derive(Debug)]
pub enum Tried<E> {
    /// It was the last.
    Last(E),
    /// Another one is granted, after this.
    Again(FailedTry),
}

/// A try that another one follows.
#[derive(Clone, Copy, Debug)]
pub struct FailedTry {
    /// Where it went, or was to go.
    pub at: SocketAddr,
    /// Why it was not the last.
    pub reason: Reason,
    /// The status of its response, if there was one.
    pub status: Option<u16>,
    /// That of a call of gRPC.
    pub grpc_status: Option<u32>,
}

impl FailedTry {
    /// One without a response.
    #[must_use]
    pub fn unanswered(at: SocketAddr, reason: Reason) -> Self {
        Self {
            at,
            reason,
            status: None,
            grpc_status: None,
        }
    }
}

impl Tries {
    /// A request comes. It waits for its answer until it is told of it.
    ///
    /// # Errors
    /// If as many wait already as the destination's policy allows.
    pub fn begin(
        known: Option<Arc<Destination>>,
        kind: Kind,
        now: Instant,
    ) -> Result<Self, Reason> {
        let mut tries = Self {
            known,
            kind,
            tried: Vec::new(),
            retries: 0,
            deadline: None,
            waiting: None,
            is_budget_spent: false,
        };
        if let Some(known) = &tries.known {
            tries.waiting = Some(known.admit().ok_or(Reason::TooManyPending)?);
            tries.deadline = known.policy().timeout.map(|timeout| now + timeout);
            known.budget().request(now);
        }
        Ok(tries)
    }

    /// An endpoint for the next try: one that has not been tried, if there is one.
    #[must_use]
    pub fn choose(&self, now: Instant) -> Option<Chosen> {
        let known = self.known.as_ref()?;
        let untried = known.choose(Unit::Request, &self.tried, now);
        untried.or_else(|| known.choose(Unit::Request, &[], now))
    }

    /// What was chosen went while it was connected. Whether there is something else to
    /// choose from then, of which `latest` tells; that is no other try, for nothing failed.
    #[must_use]
    pub fn chooses_anew(&mut self, latest: Option<Arc<Destination>>) -> bool {
        let latest = latest.filter(|known| known.has_endpoints());
        let has_others = latest.is_some();
        if has_others {
            self.known = latest;
        }
        has_others
    }

    /// When a try that begins now is given up if the response's head is not there.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let policy = self.known.as_ref().map(|known| known.policy());
        let per_try = policy.and_then(|policy| policy.per_try_timeout);
        let per_try = per_try.map(|timeout| now + timeout);
        per_try.into_iter().chain(self.deadline).min()
    }

    /// When the request is given up, whatever has come of its response.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// A try at `at` failed. Whether another one follows, which is taken out of the
    /// budget then. `replayable` says whether the request can be sent once more.
    ///
    /// A try may have taken a while: the next one goes where the destination is by then,
    /// of which `latest` tells, as it tells [`begin`](Self::begin).
    #[must_use]
    pub fn again(
        &mut self,
        (failure, at): (Failure, EndpointAddr),
        replayable: bool,
        latest: impl Fn() -> Option<Arc<Destination>>,
        now: Instant,
    ) -> bool {
        // What nobody has looked at is sent once more whatever the policy says: connections
        // come to their ends, which is no failure of the service (RFC 9113 section 8.7).
        let is_owed = failure == Failure::Refused && replayable && self.retries == 0;
        let Some(known) = &self.known else {
            self.retries += u32::from(is_owed);
            return is_owed;
        };
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return false;
        }
        let attempt = Attempt {
            kind: self.kind,
            replayable,
            retries: self.retries,
        };
        self.tried.push(at);
        // An endpoint that can't be reached needs no second question. One that refuses a
        // stream may take it over another connection.
        let other = |known: Arc<Destination>| known.choose(Unit::Request, &self.tried, now);
        if failure == Failure::Connect && latest().and_then(other).is_none() {
            return false;
        }
        match known.policy().after(failure, attempt, known.budget(), now) {
            Next::GiveUp(reason) if !is_owed => {
                self.is_budget_spent = reason == GaveUp::BudgetSpent;
                tracing::debug!(%at, ?failure, reason = reason.as_str(), "not tried again");
                false
            }
            Next::GiveUp(_) | Next::Retry => {
                self.retries += 1;
                self.known = latest();
                true
            }
        }
    }

    /// No connection to `at` could be made, for this reason, and nothing was sent. Whether
    /// another try follows, as of [`again`](Self::again).
    #[must_use]
    pub fn unconnected(
        &mut self,
        (at, reason): (EndpointAddr, Reason),
        latest: impl Fn() -> Option<Arc<Destination>>,
        now: Instant,
    ) -> bool {
        reason.may_work_elsewhere() && self.again((Failure::Connect, at), true, latest, now)
    }

    /// Whether the next try may be followed by another one, however it fails.
    #[must_use]
    pub fn may_go_on(&self) -> bool {
        let asked = self.known.as_ref().map(|known| known.policy().retries);
        // What nobody has looked at is sent once more in any case.
        self.retries < asked.unwrap_or_default().max(1)
    }

    /// Whether there would have been another try, had the destination not been sent so
    /// many of them.
    #[must_use]
    pub fn is_budget_spent(&self) -> bool {
        self.is_budget_spent
    }

    /// The response's head is there, and wanted.
    pub fn answered(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests;
