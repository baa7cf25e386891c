//! The tries of one request, as its destination's policy has them.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Attempt, Failure, GaveUp, Next};
use crate::{
    addr::EndpointAddr,
    balance::Unit,
    destination::{Chosen, Destination, Waiting},
    reason::Reason,
};

/// Where a request may be sent, how long it may take, and whether once more.
#[derive(Debug)]
pub struct Tries {
    /// Nothing, if there is only one place where the request can go.
    known: Option<Arc<Destination>>,
    idempotent: bool,
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
    Again(Reason),
}

impl Tries {
    /// A request comes. It waits for its answer until it is told of it.
    ///
    /// # Errors
    /// If as many wait already as the destination's policy allows.
    pub fn begin(
        known: Option<Arc<Destination>>,
        idempotent: bool,
        now: Instant,
    ) -> Result<Self, Reason> {
        let mut tries = Self {
            known,
            idempotent,
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

    /// When a try that begins now is given up if the response's head is not there.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let policy = self.known.as_ref().map(|known| known.policy());
        let per_try = policy.and_then(|policy| policy.per_try_timeout);
        let per_try = per_try.map(|timeout| now + timeout);
        per_try.into_iter().chain(self.deadline).min()
    }

    /// A try at `at` failed. Whether another one follows, which is taken out of the
    /// budget then. `replayable` says whether the request can be sent once more.
    #[must_use]
    pub fn again(
        &mut self,
        failure: Failure,
        at: EndpointAddr,
        replayable: bool,
        now: Instant,
    ) -> bool {
        let Some(known) = &self.known else {
            // Its connection may just have come to its end: once more over another.
            let again = failure == Failure::Refused && replayable && self.retries == 0;
            self.retries += u32::from(again);
            return again;
        };
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return false;
        }
        let attempt = Attempt {
            idempotent: self.idempotent,
            replayable,
            retries: self.retries,
        };
        self.tried.push(at);
        // An endpoint that can't be reached needs no second question. One that refuses a
        // stream may take it over another connection.
        let elsewhere = || known.choose(Unit::Request, &self.tried, now).is_some();
        if failure == Failure::Connect && !elsewhere() {
            return false;
        }
        match known.policy().after(failure, attempt, known.budget(), now) {
            Next::Retry => {
                self.retries += 1;
                true
            }
            Next::GiveUp(reason) => {
                self.is_budget_spent = reason == GaveUp::BudgetSpent;
                tracing::debug!(%at, ?failure, reason = reason.as_str(), "not tried again");
                false
            }
        }
    }

    /// A connection that had been kept was closed before the endpoint looked at the
    /// request. Whether it is sent once more over a new one, which is taken out of the
    /// budget: an endpoint that hangs up on whatever it is sent looks the same.
    #[must_use]
    pub fn stale(&mut self, now: Instant) -> bool {
        let known = self.known.as_ref();
        let granted = known.is_none_or(|known| known.budget().retry(now));
        self.is_budget_spent = !granted;
        granted
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
