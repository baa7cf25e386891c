//! One request and its response, between two connections.
//!
//! Both are passed on while they come: a response can begin before its request has
//! ended, and interim responses go through as any other. A client that goes away is
//! noticed by the upstream as it would be without a proxy between them.

mod answer;

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, sleep_until};

use super::{
    body::Body,
    buffer::{lend_out, take_back},
    message::{Message, Stuck},
    request::Request,
    response::{Kind, Response},
    session::{Http1, Target},
    side::Side,
};
use crate::{destination::InFlight, ejection, http::idle::Waiter, policy::Tries, reason::Reason};

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Both messages were passed on; either connection can be used again, or not.
    Done {
        downstream_stays: bool,
        upstream_stays: bool,
    },
    /// The response made a tunnel of it.
    Tunnel,
    /// Nothing came back, and the upstream has read no byte of the request.
    Unread,
    /// Nothing came back, and the upstream may have worked on the request.
    Unanswered,
    /// The response is not wanted, and another try is granted.
    Unwanted,
    /// There is no response, and the client can be told so.
    Failed(Reason),
    /// The response broke off.
    BrokenOff(Reason),
    /// The response ended too early, which its length or its chunks tell the client.
    CutShort,
    /// The client broke off.
    Abandoned,
}

/// An exchange under way.
#[derive(Debug)]
pub(crate) struct Exchange<'e> {
    pub(crate) request: &'e Request,
    pub(crate) upload: &'e mut Message,
    pub(crate) downstream: &'e mut Side,
    pub(crate) upstream: &'e mut Side,
    /// Says whether the downstream connection may stay, and whether both sides are there.
    pub(crate) waiter: &'e Waiter,
    /// Where the request may go, now and if it is sent again.
    pub(crate) target: &'e Target,
    pub(crate) head_bytes_max: usize,
    /// Is told what comes of the request.
    pub(crate) in_flight: Option<&'e mut InFlight>,
    /// Says whether a response is wanted.
    pub(crate) tries: Option<&'e mut Tries>,
    /// The final response, once it has begun.
    pub(crate) response: Option<Response>,
    download: Message,
    /// Nothing more of the request is passed on: it is at its end, or cut.
    upload_over: bool,
    /// The client has not sent all, or the upstream not taken it.
    upload_cut: bool,
    /// Something came back.
    answered: bool,
}

impl<'e> Exchange<'e> {
    pub(crate) fn new(
        (http, waiter): (&Http1, &'e Waiter),
        request: &'e Request,
        upload: &'e mut Message,
        (downstream, upstream): (&'e mut Side, &'e mut Side),
        target: &'e Target,
    ) -> Self {
        Self {
            request,
            upload,
            downstream,
            upstream,
            waiter,
            target,
            head_bytes_max: http.head_bytes_max,
            in_flight: None,
            tries: None,
            response: None,
            download: Message::new(lend_out(), Body::NONE),
            upload_over: false,
            upload_cut: false,
            answered: false,
        }
    }

    /// Passes both messages on, to their end. The response's head has to be there by
    /// `until`, and its end while there is time for the request.
    pub(crate) async fn run(&mut self, until: Option<Instant>) -> Outcome {
        let outcome = match until {
            None => poll_fn(|cx| self.poll(cx)).await,
            // Few services ask for it; the others' requests are not to hold the memory.
            Some(until) => Box::pin(self.run_until(until)).await,
        };
        match outcome {
            Outcome::Done { .. } | Outcome::Tunnel | Outcome::Abandoned | Outcome::Unwanted => {}
            Outcome::Failed(Reason::RequestMalformed)
            | Outcome::BrokenOff(Reason::RequestMalformed) => {}
            // One that was closed before it was used says nothing of its endpoint.
            Outcome::Unread => {}
            // A body may be late for what its reader does.
            Outcome::Failed(Reason::ResponseTimeout)
            | Outcome::BrokenOff(Reason::ResponseTimeout)
                if self.response.is_some() => {}
            // The client may be the slow one, too.
            Outcome::Failed(Reason::ResponseTimeout)
            | Outcome::BrokenOff(Reason::ResponseTimeout)
                if !self.upload_over && self.upload.awaits_source() => {}
            Outcome::Failed(Reason::ResponseTimeout)
            | Outcome::BrokenOff(Reason::ResponseTimeout) => {
                self.record(ejection::Outcome::TimedOut);
            }
            Outcome::Unanswered
            | Outcome::Failed(_)
            | Outcome::BrokenOff(_)
            | Outcome::CutShort => {
                self.record(ejection::Outcome::Reset);
            }
        }
        outcome
    }

    async fn run_until(&mut self, until: Instant) -> Outcome {
        let whole = self.tries.as_ref().and_then(|tries| tries.deadline());
        let mut late = pin!(sleep_until(until));
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = self.poll(cx) {
                return Poll::Ready(outcome);
            }
            if self.response.is_some() {
                match whole {
                    None => return Poll::Pending,
                    Some(whole) if late.deadline() != whole => late.as_mut().reset(whole),
                    Some(_) => {}
                }
            }
            ready!(late.as_mut().poll(cx));
            Poll::Ready(self.no_good(Reason::ResponseTimeout))
        })
        .await
    }

    fn record(&mut self, outcome: ejection::Outcome) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.record(outcome, Instant::now());
        }
    }

    /// How many bytes went to the client.
    pub(crate) fn received(&self) -> u64 {
        self.download.passed
    }

    /// How many of them were the response's body.
    pub(crate) fn received_body(&self) -> u64 {
        self.download.body_passed()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Poll::Ready(outcome) = self.poll_messages(cx) {
            return Poll::Ready(outcome);
        }
        let sides = (&*self.downstream.stream, &*self.upstream.stream);
        Poll::Ready(match ready!(self.waiter.poll_gone(cx, sides)) {
            Reason::DownstreamReset => Outcome::Abandoned,
            reason => self.no_good(reason),
        })
    }

    fn poll_messages(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Err(outcome) = self.poll_upload(cx) {
            return Poll::Ready(outcome);
        }
        match ready!(self.poll_download(cx)) {
            Err(outcome) => return Poll::Ready(outcome),
            Ok(Kind::Tunnel) => {
                // What is held of the request goes before what follows it.
                let passed = ready!(self.upload.poll_head(cx, &self.upstream.stream));
                let broke = Outcome::BrokenOff(Reason::UpstreamReset);
                return Poll::Ready(passed.map_or(broke, |()| Outcome::Tunnel));
            }
            Ok(_) => {}
        }
        let stays = |response: &Response| (response.downstream_stays, response.upstream_stays);
        let (downstream_stays, upstream_stays) =
            self.response.as_ref().map_or((false, false), stays);
        // The upstream may go on reading the request after its answer, or hang up.
        if !self.upload_over && ready!(self.upstream.poll_fill(cx)).is_ok_and(|read| read > 0) {
            tracing::debug!("the upstream sent more than its response");
        }
        let whole = self.upload_over && !self.upload_cut && !self.downstream.ended;
        Poll::Ready(Outcome::Done {
            downstream_stays: downstream_stays && whole,
            upstream_stays: upstream_stays && whole && self.upstream.buffer.is_empty(),
        })
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Outcome> {
        if !self.upload_over {
            let upload = self.upload.poll(cx, self.downstream, &self.upstream.stream);
            match upload {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => self.upload_over = true,
                Poll::Ready(Err(Stuck::SourceBroke)) => return Err(Outcome::Abandoned),
                Poll::Ready(Err(Stuck::Malformed)) => {
                    return Err(self.no_good(Reason::RequestMalformed));
                }
                Poll::Ready(Err(Stuck::SourceEnded)) => {
                    self.upstream.end();
                    (self.upload_over, self.upload_cut) = (true, true);
                }
                // It may have answered before it stopped reading.
                Poll::Ready(Err(Stuck::SinkBroke)) => {
                    (self.upload_over, self.upload_cut) = (true, true);
                }
            }
        }
        self.watch_downstream(cx)
    }

    /// Notices a client that goes away while it waits. What else it sends is the next
    /// request's, and stays in the buffer.
    fn watch_downstream(&mut self, cx: &mut Context<'_>) -> Result<(), Outcome> {
        if self.downstream.ended || !self.downstream.buffer.is_empty() {
            return Ok(());
        }
        match self.downstream.poll_fill(cx) {
            Poll::Ready(Err(_)) => return Err(Outcome::Abandoned),
            Poll::Ready(Ok(0)) => self.upstream.end(),
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
        Ok(())
    }

    fn poll_download(&mut self, cx: &mut Context<'_>) -> Poll<Result<Kind, Outcome>> {
        loop {
            let Some(response) = self.response else {
                // Interim responses are not held up by what comes after them.
                let flushed = ready!(self.download.poll_head(cx, &self.downstream.stream));
                flushed.map_err(|_| Outcome::Abandoned)?;
                self.download.forget_head();
                ready!(self.poll_response(cx))?;
                continue;
            };
            let download = &mut self.download;
            let passed = ready!(download.poll(cx, self.upstream, &self.downstream.stream));
            return Poll::Ready(match passed {
                Ok(()) => Ok(response.kind),
                Err(Stuck::SinkBroke) => Err(Outcome::Abandoned),
                Err(Stuck::Malformed) => Err(Outcome::BrokenOff(Reason::ResponseMalformed)),
                Err(Stuck::SourceBroke) => Err(Outcome::BrokenOff(Reason::UpstreamReset)),
                Err(Stuck::SourceEnded) => Err(Outcome::CutShort),
            });
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        take_back(std::mem::take(&mut self.download.head));
    }
}
