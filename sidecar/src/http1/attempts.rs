//! A request at one upstream after another.

use std::{net::SocketAddr, sync::Arc};

use netting_telemetry::requests::{Method, Version};
use tokio::time::Instant;

use super::{
    exchange::{Exchange, Outcome},
    head,
    message::Message,
    request::Request,
    session::{Session, Target},
    side::Side,
    upstream::Taken,
};
use crate::{
    addr::EndpointAddr,
    connect::ConnectError,
    destination::Endpoint,
    ejection,
    http::told::Try,
    policy::{FailedTry, Failure, Kind, Tried, Tries},
    reason::Reason,
};

/// What came of a request.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) received: u64,
    /// Of that, the response's body.
    pub(super) received_body: u64,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) taken: Option<Taken>,
    /// How often it was tried again.
    pub(super) resent: u32,
}

impl Session<'_> {
    /// Lets an upstream connection wait for another request, if there is room.
    pub(super) fn keep(&self, endpoint: &Arc<Endpoint>, side: Side) {
        if !self.proxy.http1.pool.put(endpoint, side) {
            self.proxy.metrics.reached(Reason::PoolFull.as_str());
        }
    }

    /// Takes an upstream and exchanges messages with it: once more with a fresh one,
    /// if the first had been closed before it read anything, and at others as far as the
    /// service's policy says.
    pub(super) async fn exchange(&mut self, request: &Request, upload: &mut Message) -> Ended {
        let known = self.target.current();
        let kind = if request.is_idempotent {
            Kind::Idempotent
        } else {
            Kind::Other
        };
        let mut tries = match Tries::begin(known, kind, Instant::now()) {
            Ok(tries) => tries,
            Err(reason) => return Ended::without_upstream(Outcome::Failed(reason)),
        };
        let (mut fresh, mut resent) = (false, 0);
        loop {
            match self.once(request, upload, &mut tries, &mut fresh).await {
                Tried::Last(ended) => {
                    if tries.is_budget_spent() {
                        self.proxy
                            .metrics
                            .reached(Reason::RetryBudgetSpent.as_str());
                    }
                    return Ended { resent, ..ended };
                }
                Tried::Again(failed) => {
                    self.tell_try(request, upload, (failed, resent));
                    resent += 1;
                    self.traffic.requests.retried(failed.reason.as_str());
                }
            }
        }
    }

    /// Tells of a try, and the next upstream of the one that follows.
    fn tell_try(
        &mut self,
        request: &Request,
        upload: &mut Message,
        (failed, resent): (FailedTry, u32),
    ) {
        let Some(span) = self.span.as_deref_mut() else {
            return;
        };
        let told = head::told(&upload.head);
        let tried = Try {
            client: self.client,
            method: Method::of_head(&upload.head),
            version: Version::of_http1(request.is_11),
            call: None,
            resent,
            failed,
        };
        if self.proxy.tell_try(span, &told, &tried) {
            head::tell_again(span, &mut upload.head);
        }
    }

    async fn once(
        &mut self,
        request: &Request,
        upload: &mut Message,
        tries: &mut Tries,
        fresh: &mut bool,
    ) -> Tried<Ended> {
        let until = tries.until(Instant::now());
        let mut taken = match self.take(tries, *fresh, until).await {
            Ok(taken) => taken,
            Err(error) => return self.not_sent(&error, tries),
        };
        upload.begin_behind(taken.has, !tries.may_go_on());
        let before = upload.passed;
        let sides = (&mut self.downstream, &mut taken.side);
        let with = (&self.proxy.http1, &self.waiter);
        let mut exchange = Exchange::new(with, request, upload, sides, &self.target);
        exchange.in_flight = taken.in_flight.as_mut();
        exchange.tries = Some(tries);
        let outcome = exchange.run(until).await;
        let status = exchange.response.map(|response| response.status);
        let (received, received_body) = (exchange.received(), exchange.received_body());
        drop(exchange);
        taken.side.sent += taken.has as u64 + upload.passed - before;
        // What was pooled at the same time may be as stale.
        *fresh |= taken.is_old && matches!(outcome, Outcome::Unread | Outcome::Unanswered);
        // What follows interim responses is the rest of an answer.
        let replayable = received == 0 && upload.can_be_repeated();
        let again = taken.again(outcome, tries, replayable, &self.target);
        if let Some(reason) = again {
            if reason != Reason::ResponseTimeout {
                taken.side.stream.finish();
            }
            return Tried::Again(FailedTry {
                status,
                ..FailedTry::unanswered(taken.addr, reason)
            });
        }
        Tried::Last(Ended {
            outcome,
            status,
            received,
            received_body,
            upstream: Some(taken.addr),
            taken: Some(taken),
            resent: 0,
        })
    }

    /// Of this try, nothing was sent.
    fn not_sent(&self, error: &ConnectError, tries: &mut Tries) -> Tried<Ended> {
        let (client, dst, cause) = (self.client, self.dst, &error.source);
        tracing::debug!(%client, %dst, %error, %cause, "no upstream for a request");
        let at = EndpointAddr(error.addr);
        let latest = || self.target.current();
        if tries.unconnected((at, error.reason), latest, Instant::now()) {
            Tried::Again(FailedTry::unanswered(error.addr, error.reason))
        } else {
            Tried::Last(Ended::without_upstream(Outcome::Failed(error.reason)))
        }
    }
}

impl Taken {
    /// Why the request is tried again, if it is.
    fn again(
        &mut self,
        outcome: Outcome,
        tries: &mut Tries,
        replayable: bool,
        target: &Target,
    ) -> Option<Reason> {
        let (failure, reason) = match outcome {
            // It was granted when the response's head came.
            Outcome::Unwanted => return Some(Reason::ResponseUnwanted),
            Outcome::Unread => {
                let in_flight = self.in_flight.as_mut().filter(|_| !self.is_old);
                if let Some(in_flight) = in_flight {
                    in_flight.record(ejection::Outcome::Reset, Instant::now());
                }
                (Failure::Refused, Reason::UpstreamClosed)
            }
            Outcome::Unanswered => (Failure::Reset, Reason::UpstreamClosed),
            Outcome::Failed(reason @ Reason::ResponseTimeout) => (Failure::TimedOut, reason),
            Outcome::Failed(reason @ Reason::UpstreamSilent) => (Failure::Reset, reason),
            _ => return None,
        };
        let failed = (failure, EndpointAddr(self.addr));
        let latest = || target.current();
        let granted = tries.again(failed, replayable, latest, Instant::now());
        granted.then_some(reason)
    }
}

impl Ended {
    pub(super) fn without_upstream(outcome: Outcome) -> Self {
        Self {
            outcome,
            status: None,
            received: 0,
            received_body: 0,
            upstream: None,
            taken: None,
            resent: 0,
        }
    }

    /// Lets the upstream connection wait for another request, or ends it.
    pub(super) fn give_back(&mut self, session: &mut Session<'_>, stays: bool) {
        let Some(mut taken) = self.taken.take() else {
            return;
        };
        match taken.in_flight {
            _ if !stays => taken.side.stream.finish(),
            Some(request) => session.keep(request.endpoint(), taken.side),
            None => session.upstream = Some(taken.side),
        }
    }
}
