//! Whether a try that failed is followed by another one.

use super::Policy;
use crate::{budget::Budget, ejection::Outcome};
use tokio::time::Instant;

/// What a request is, as far as trying it again goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whether to do it twice may be to do it once.
    pub kind: Kind,
    /// Its body, if it has any, can be sent once more.
    pub replayable: bool,
    /// Tries before this one.
    pub retries: u32,
}

/// What a request says of being done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its method is idempotent (RFC 9110, 9.2.2): to do it twice is to do it once.
    Idempotent,
    /// A call of gRPC, each of which is a POST: its service says whether its calls are
    /// idempotent.
    Call,
    /// Any other: to do it twice may be to order twice.
    Other,
}

/// How a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The endpoint could not be connected: nothing was sent.
    Connect,
    /// The endpoint refused to look at the request, or ended the connection before it had
    /// any of it.
    Refused,
    /// The connection broke before the response's head.
    Reset,
    /// The response's head did not come in the time for one try.
    TimedOut,
    /// A response with this status.
    Status(u16),
    /// A response of gRPC with this code in its head.
    GrpcStatus(u32),
    /// Either of them, from the sidecar of an endpoint whose application broke off before
    /// the response's head.
    BrokenOff {
        /// The response's status.
        status: u16,
        /// Its code of gRPC, if it has any.
        grpc_code: Option<u32>,
    },
}

/// What a meshed endpoint's sidecar, which answered itself, reports of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It never got to the application.
    Unreached,
    /// The application's connection broke before the response's head.
    BrokenOff,
}

/// What follows a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another try, at another endpoint. It is taken out of the budget.
    Retry,
    /// The failure is the client's to see.
    GiveUp(GaveUp),
}

/// Why there is no other try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The policy doesn't ask for one after such a failure.
    NotAsked,
    /// It might be done twice that way.
    NotIdempotent,
    /// Its body is gone.
    BodySent,
    /// It was tried as often as the policy says.
    TooManyTries,
    /// The destination has been sent too many retries.
    BudgetSpent,
}

impl GaveUp {
    /// As in logs and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GaveUp::NotAsked => "not_asked",
            GaveUp::NotIdempotent => "not_idempotent",
            GaveUp::BodySent => "body_sent",
            GaveUp::TooManyTries => "too_many_tries",
            GaveUp::BudgetSpent => "budget_spent",
        }
    }
}

impl Failure {
    /// What a response's head says failed.
    ///
    /// A meshed endpoint's sidecar is believed what it `reported`: who forges that has
    /// only its own work done again.
    #[must_use]
    pub fn of_response(
        status: u16,
        grpc_code: Option<u32>,
        reported: Option<Reported>,
    ) -> Option<Self> {
        let said = match grpc_code {
            Some(0) => None,
            Some(code) => Some(Failure::GrpcStatus(code)),
            None => (status >= 400).then_some(Failure::Status(status)),
        };
        match reported {
            Some(Reported::Unreached) => Some(Failure::Connect),
            Some(Reported::BrokenOff) => said.map(|_| Failure::BrokenOff { status, grpc_code }),
            None => said,
        }
    }

    /// What it says of the endpoint.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Failure::Connect => Outcome::ConnectFailed,
            Failure::Refused => Outcome::Refused,
            Failure::Reset | Failure::BrokenOff { .. } => Outcome::Reset,
            Failure::TimedOut => Outcome::TimedOut,
            Failure::Status(status) => Outcome::of_status(status),
            Failure::GrpcStatus(code) => Outcome::of_grpc_status(code),
        }
    }

    /// The endpoint has provably not worked on the request.
    pub(super) fn is_untouched(self) -> bool {
        matches!(self, Failure::Connect | Failure::Refused)
    }
}

impl Policy {
    /// Decides on another try, and takes it out of the budget.
    #[must_use]
    pub fn after(&self, failure: Failure, of: Attempt, budget: &Budget, now: Instant) -> Next {
        let on = &self.retry_on;
        let asked = match failure {
            Failure::Connect | Failure::Refused => true,
            Failure::Reset => on.reset,
            Failure::TimedOut => on.status(504),
            Failure::Status(status) => on.status(status),
            Failure::GrpcStatus(code) => on.grpc_code(code),
            Failure::BrokenOff { status, grpc_code } => {
                on.reset || grpc_code.map_or_else(|| on.status(status), |code| on.grpc_code(code))
            }
        };
        let idempotent = match of.kind {
            Kind::Idempotent => true,
            // Whoever names a code of gRPC says that the service's calls are. Of what else
            // comes over POST that says nothing.
            Kind::Call => !self.retry_on.grpc_codes.is_empty(),
            Kind::Other => false,
        };
        let gave_up = if !asked {
            GaveUp::NotAsked
        } else if !failure.is_untouched() && !idempotent {
            GaveUp::NotIdempotent
        } else if !of.replayable {
            GaveUp::BodySent
        } else if of.retries >= self.retries {
            GaveUp::TooManyTries
        } else if !budget.retry(now) {
            GaveUp::BudgetSpent
        } else {
            return Next::Retry;
        };
        Next::GiveUp(gave_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::RetryOn;

    const GET: Attempt = Attempt {
        kind: Kind::Idempotent,
        replayable: true,
        retries: 0,
    };
    const POST: Attempt = Attempt {
        kind: Kind::Other,
        ..GET
    };
    const CALL: Attempt = Attempt {
        kind: Kind::Call,
        ..GET
    };

    fn asking() -> Policy {
        Policy {
            retry_on: RetryOn {
                reset: true,
                statuses: vec![503, 504],
                grpc_codes: vec![],
            },
            ..Policy::default()
        }
    }

    fn after(policy: &Policy, failure: Failure, of: Attempt) -> Next {
        let now = Instant::now();
        policy.after(failure, of, &Budget::new(now), now)
    }

    #[test]
    fn unasked_only_what_no_endpoint_worked_on_is_tried_again() {
        let policy = Policy::default();
        for failure in [Failure::Connect, Failure::Refused] {
            assert_eq!(after(&policy, failure, GET), Next::Retry);
            assert_eq!(after(&policy, failure, POST), Next::Retry);
        }
        for failure in [
            Failure::Reset,
            Failure::TimedOut,
            Failure::Status(503),
            Failure::GrpcStatus(14),
        ] {
            assert_eq!(after(&policy, failure, GET), Next::GiveUp(GaveUp::NotAsked));
        }
    }

    #[test]
    fn what_breaks_behind_a_sidecar_is_a_reset_and_what_the_sidecar_says() {
        let broken = |status, code| Failure::of_response(status, code, Some(Reported::BrokenOff));
        let on = |reset, statuses: &[u16], grpc_codes: &[u32]| Policy {
            retry_on: RetryOn {
                reset,
                statuses: statuses.to_vec(),
                grpc_codes: grpc_codes.to_vec(),
            },
            ..Policy::default()
        };
        let http = broken(502, None).expect("it failed");
        let call = broken(200, Some(14)).expect("it failed");
        for (policy, again) in [
            (on(true, &[], &[]), [true, true]),
            (on(false, &[502], &[]), [true, false]),
            (on(false, &[503], &[14]), [false, true]),
            (on(false, &[], &[13]), [false, false]),
        ] {
            let tried = [http, call].map(|failure| after(&policy, failure, GET) == Next::Retry);
            assert_eq!(tried, again, "{:?}", policy.retry_on);
        }
        assert_eq!(broken(200, None), None, "an answer is an answer");
        assert_eq!(broken(200, Some(0)), None);
    }

    #[test]
    fn what_may_have_been_done_is_not_done_twice() {
        for failure in [Failure::Reset, Failure::TimedOut, Failure::Status(503)] {
            assert_eq!(after(&asking(), failure, GET), Next::Retry);
            let twice = Next::GiveUp(GaveUp::NotIdempotent);
            assert_eq!(after(&asking(), failure, POST), twice);
            assert_eq!(after(&asking(), failure, CALL), twice);
        }
        assert_eq!(
            after(&asking(), Failure::Status(502), GET),
            Next::GiveUp(GaveUp::NotAsked)
        );
    }

    #[test]
    fn to_name_a_code_of_grpc_is_to_say_that_calls_are_idempotent() {
        let mut policy = asking();
        policy.retry_on.grpc_codes = vec![14];
        assert_eq!(after(&policy, Failure::GrpcStatus(14), CALL), Next::Retry);
        assert_eq!(after(&policy, Failure::Reset, CALL), Next::Retry);
        let other = after(&policy, Failure::GrpcStatus(13), CALL);
        assert_eq!(other, Next::GiveUp(GaveUp::NotAsked));
        for failure in [Failure::Reset, Failure::TimedOut, Failure::Status(503)] {
            let no_call = after(&policy, failure, POST);
            assert_eq!(no_call, Next::GiveUp(GaveUp::NotIdempotent), "{failure:?}");
        }
    }

    #[test]
    fn a_body_that_is_gone_is_not_sent_again() {
        let gone = Attempt {
            replayable: false,
            ..GET
        };
        let refused = after(&asking(), Failure::Refused, gone);
        assert_eq!(refused, Next::GiveUp(GaveUp::BodySent));
    }

    #[test]
    fn tries_no_more_often_than_the_policy_says() {
        let policy = Policy {
            retries: 1,
            ..Policy::default()
        };
        let again = Attempt { retries: 1, ..GET };
        assert_eq!(after(&policy, Failure::Connect, GET), Next::Retry);
        let second = after(&policy, Failure::Connect, again);
        assert_eq!(second, Next::GiveUp(GaveUp::TooManyTries));
    }

    #[test]
    fn a_spent_budget_ends_all_retries_and_only_those_that_happen_cost() {
        let now = Instant::now();
        let budget = Budget::new(now);
        let policy = Policy::default();
        let full = budget.left(now);
        let _ = policy.after(Failure::Reset, GET, &budget, now);
        assert_eq!(budget.left(now), full);
        for _ in 0..full {
            assert_eq!(
                policy.after(Failure::Connect, GET, &budget, now),
                Next::Retry
            );
        }
        let spent = policy.after(Failure::Connect, GET, &budget, now);
        assert_eq!(spent, Next::GiveUp(GaveUp::BudgetSpent));
    }
}
