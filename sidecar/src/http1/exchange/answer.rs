//! What an upstream answers to a request, and what that means for its exchange.

use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::{Exchange, Outcome};
use crate::{
    ejection,
    http::fault::Fault,
    http1::{
        head,
        response::{self, Kind, Response, Stay},
        session::Target,
    },
    policy::Failure,
    reason::Reason,
};

impl Exchange<'_> {
    /// Reads the head of the next response.
    pub(super) fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Outcome>> {
        if self.upstream.buffer.is_empty() {
            ready!(self.poll_answer(cx))?;
        }
        loop {
            let stay = Stay {
                downstream: !self.waiter.is_draining(),
                // Who answers before the request's end, and hangs up, is not sent the rest.
                together: self.target.has_own_upstream() || !self.upload_over,
            };
            let bytes = self.upstream.buffer.bytes();
            let out = &mut self.download.head;
            match response::parse(bytes, self.request, stay, out) {
                Ok(Some(response)) if response.length <= self.head_bytes_max => {
                    return Poll::Ready(self.begin(response));
                }
                Ok(None) if bytes.len() < self.head_bytes_max => {}
                Ok(_) => {
                    let reason = Reason::ResponseHeadTooLarge;
                    return Poll::Ready(Err(self.not_understood(reason)));
                }
                Err(reason) => return Poll::Ready(Err(self.not_understood(reason))),
            }
            ready!(self.poll_answer(cx))?;
        }
    }

    fn begin(&mut self, response: Response) -> Result<(), Outcome> {
        self.upstream.buffer.consume(response.length);
        if response.kind == Kind::Interim {
            // With it, an answer has begun: the request is not sent again.
            self.upload.let_go();
            return Ok(());
        }
        let failure = self.failure(&response);
        let success = || ejection::Outcome::of_status(response.status);
        self.record(failure.map_or_else(success, Failure::outcome));
        self.response = Some(response);
        if failure.is_some_and(|failure| self.is_unwanted(failure)) {
            return Err(Outcome::Unwanted);
        }
        self.upload.let_go();
        if let Some(tries) = &mut self.tries {
            tries.answered();
        }
        // What an application relays, no sidecar on the way is to take for ours.
        if self.is_application() && response.reported.is_some() {
            let relayed = Fault::RELAYED.as_bytes();
            head::add(&mut self.download.head, "proxy-status", relayed);
        }
        self.upstream.kept_seconds = response.kept_seconds;
        self.download.body = response.body;
        let along = self.download.take_along(self.upstream);
        along.map_err(|_| self.no_good(Reason::ResponseMalformed))
    }

    /// What a response says failed.
    fn failure(&self, response: &Response) -> Option<Failure> {
        let by_sidecar = self
            .in_flight
            .as_ref()
            .is_some_and(|at| at.endpoint().meshed);
        let reported = response.reported.filter(|_| by_sidecar);
        Failure::of_response(response.status, None, reported)
    }

    /// Whether another try is granted after this failure. Not once something has gone
    /// to the client, nor when the request's body is gone.
    fn is_unwanted(&mut self, failure: Failure) -> bool {
        let replayable = self.upload.can_be_repeated();
        let (Some(tries), Some(in_flight)) = (&mut self.tries, &self.in_flight) else {
            return false;
        };
        self.download.passed == 0
            && tries.again(
                (failure, in_flight.addr()),
                replayable,
                || self.target.current(),
                Instant::now(),
            )
    }

    /// Whether the upstream is the pod's own application.
    fn is_application(&self) -> bool {
        matches!(self.target, Target::Fixed)
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Outcome>> {
        match ready!(self.upstream.poll_fill(cx)) {
            Ok(read) if read > 0 => {
                self.answered = true;
                Poll::Ready(Ok(()))
            }
            Ok(_) => Poll::Ready(Err(self.unanswered(true))),
            Err(_) => Poll::Ready(Err(self.unanswered(false))),
        }
    }

    /// The upstream has gone without a response: it has `ended`, or broken off.
    fn unanswered(&self, ended: bool) -> Outcome {
        if self.answered {
            self.no_good(Reason::UpstreamClosed)
        } else if self.upload.is_at_beginning()
            || ended && !self.upload_cut && self.upstream.ended_before()
        {
            Outcome::Unread
        } else {
            Outcome::Unanswered
        }
    }

    /// What a head is that is none of a response.
    fn not_understood(&self, reason: Reason) -> Outcome {
        let is_undecided = matches!(self.target, Target::Undecided(_));
        // What is there may be no HTTP at all, and is passed on as it is.
        if is_undecided && self.upload_over && !self.upload_cut {
            Outcome::Tunnel
        } else {
            self.no_good(reason)
        }
    }

    /// What a failure is to the client: an answer, unless another one has begun. Whole
    /// interim ones can come before it.
    pub(super) fn no_good(&self, reason: Reason) -> Outcome {
        if self.download.is_at_beginning() {
            Outcome::Failed(reason)
        } else {
            Outcome::BrokenOff(reason)
        }
    }
}
