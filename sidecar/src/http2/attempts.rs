//! One request, at one endpoint after another, and its response.

use std::{future::poll_fn, sync::Arc};

use h2::{Reason as Code, RecvStream};
use http::{Response, request};
use netting_telemetry::requests::{Method, Version};
use tokio::time::Instant;

use super::{
    answer::{
        NoResponse, answer, failed_late, failure, grpc_code, is_grpc, kind, mark_relayed, open,
        wants_protocol,
    },
    head::{tell, told},
    pool::Hold,
    pump::{Passed, Stuck, pump},
    session::Target,
    stream::{Ended, Stream},
    upload::Upload,
    upstream::{Taken, Unconnected, within},
};
use crate::{
    addr::EndpointAddr,
    destination::Destination,
    ejection,
    http::told::Try,
    policy::{FailedTry, Failure, Tried, Tries},
    reason::Reason,
};

/// A request, which can be sent again as far as its body is kept.
pub(super) struct Message<'m> {
    pub(super) head: &'m mut request::Parts,
    pub(super) body: &'m mut RecvStream,
    pub(super) has_body: bool,
    pub(super) sent: &'m Passed,
}

impl Stream {
    /// Passes the request on, and its response back; at others if it fails, as far as
    /// the service's policy says.
    pub(super) async fn exchange(
        &mut self,
        known: Option<Arc<Destination>>,
        mut request: Message<'_>,
        received: &Passed,
    ) -> Ended {
        let kind = kind(request.head);
        let mut tries = match Tries::begin(known, kind, Instant::now()) {
            Ok(tries) => tries,
            Err(reason) => return Ended::Failed(reason),
        };
        loop {
            match self.once(&mut request, received, &mut tries).await {
                Tried::Last(ended) => {
                    if tries.is_budget_spent() {
                        let metrics = &self.session.proxy.metrics;
                        metrics.reached(Reason::RetryBudgetSpent.as_str());
                    }
                    return ended;
                }
                Tried::Again(failed) => {
                    self.tell_try(request.head, failed);
                    self.resent += 1;
                    let requests = &self.session.traffic().requests;
                    requests.retried(failed.reason.as_str());
                }
            }
        }
    }

    /// Tells of a try, and the next upstream of the one that follows.
    fn tell_try(&mut self, head: &mut request::Parts, failed: FailedTry) {
        let Some(span) = self.span.as_deref_mut() else {
            return;
        };
        let tried = Try {
            client: self.session.client,
            method: Method::of(head.method.as_str().as_bytes()),
            version: Version::Http2,
            call: is_grpc(&head.headers).then(|| head.uri.path()),
            resent: self.resent,
            failed,
        };
        if self.session.proxy.tell_try(span, &told(head), &tried) {
            tell(span, &mut head.headers);
        }
    }

    async fn once(
        &mut self,
        request: &mut Message<'_>,
        received: &Passed,
        tries: &mut Tries,
    ) -> Tried<Ended> {
        let until = tries.until(Instant::now());
        let mut taken = match self.take(tries, until).await {
            Ok(taken) => taken,
            Err(error) => return self.not_sent(error, tries),
        };
        self.upstream = Some(taken.addr);
        self.endpoint = taken.chosen().cloned();
        let sent = request.sent;
        if wants_protocol(request.head) {
            let offers = within(until, self.offers_connect(&taken.hold)).await;
            match offers.unwrap_or(Err(NoResponse::Late)) {
                Ok(true) => {}
                Ok(false) => {
                    return Tried::Last(Ended::Failed(Reason::ConnectProtocolUnsupported));
                }
                Err(no_response) => return self.unanswered(no_response, &mut taken, tries, sent),
            }
        }
        // Tunnels last as long as they like.
        let is_tunnel = request.head.method == http::Method::CONNECT;
        let whole = tries.deadline().filter(|_| !is_tunnel);
        // With its status, a call is over.
        let is_call = is_grpc(&request.head.headers);
        let mut upload = Upload::default();
        let asked = self.ask(&taken.hold, request, &mut upload);
        let answered = within(until, asked).await;
        let response = match answered.unwrap_or(Err(NoResponse::Late)) {
            Ok(response) => response,
            Err(no_response) => return self.unanswered(no_response, &mut taken, tries, sent),
        };
        let (head, body) = response.into_parts();
        let failure = failure(&head, taken.is_meshed());
        let success = || ejection::Outcome::of_status(head.status.as_u16());
        taken.record(failure.map_or_else(success, Failure::outcome));
        if let Some(failure) = failure
            && self.is_tried_again((failure, taken.endpoint()), sent.is_kept(), tries)
        {
            return Tried::Again(FailedTry {
                status: Some(head.status.as_u16()),
                grpc_status: grpc_code(&head.headers),
                ..FailedTry::unanswered(taken.addr, Reason::ResponseUnwanted)
            });
        }
        tries.answered();
        sent.let_go();
        let response = Response::from_parts(head, body);
        let passed_back = self.pass_back(response, &mut upload, &mut taken, received);
        Tried::Last(match within(whole, passed_back).await {
            Some(Ended::Whole) if !is_call => self.pass_on_rest(upload, whole).await,
            Some(ended) => ended,
            None => Ended::Reset(Code::CANCEL, Reason::ResponseTimeout),
        })
    }

    /// Takes a connection to what is chosen for the next try.
    async fn take(&self, tries: &mut Tries, until: Option<Instant>) -> Result<Taken, Unconnected> {
        loop {
            let taken = self
                .session
                .take(tries.choose(Instant::now()), until)
                .await?;
            if taken.is_current() || !tries.chooses_anew(self.session.current()) {
                return Ok(taken);
            }
        }
    }

    /// Passes on what the client says after its response has ended: an upstream may answer
    /// early and go on reading, or reset the stream (RFC 9113 section 8.1).
    async fn pass_on_rest(&mut self, upload: Upload<'_>, whole: Option<Instant>) -> Ended {
        if upload.is_over() {
            return Ended::Whole;
        }
        self.has_answer();
        match within(whole, upload.finish()).await {
            Some(()) => Ended::Whole,
            None => Ended::Cut(Reason::ResponseTimeout),
        }
    }

    /// Whether the upstream lets streams ask for other protocols.
    async fn offers_connect(&mut self, hold: &Hold) -> Result<bool, NoResponse> {
        tokio::select! {
            biased;
            _ = poll_fn(|cx| self.respond.poll_reset(cx)) => Err(NoResponse::Abandoned),
            offers = hold.offers_connect() => match offers {
                Some(offers) => Ok(offers),
                None if hold.was_silent() => Err(NoResponse::Silent),
                None => Err(NoResponse::Closed),
            },
        }
    }

    /// Sends the request, and waits for the head of its response.
    async fn ask<'u>(
        &mut self,
        hold: &Hold,
        request: &'u mut Message<'_>,
        upload: &mut Upload<'u>,
    ) -> Result<Response<RecvStream>, NoResponse> {
        let (mut response, sink) = open(hold, request.head, !request.has_body).await?;
        if request.has_body {
            *upload = Upload::begin(request.body, sink, request.sent);
        }
        let bytes_max = self.session.proxy.http2.pool.limits().head_bytes_max;
        let answer = answer(&mut response, &mut self.respond, request.sent, bytes_max);
        let answered = upload.beside(answer).await;
        match answered.unwrap_or(Err(NoResponse::Abandoned)) {
            Err(NoResponse::Gone) if hold.was_silent() => Err(NoResponse::Silent),
            answered => answered,
        }
    }

    async fn pass_back(
        &mut self,
        response: Response<RecvStream>,
        upload: &mut Upload<'_>,
        taken: &mut Taken,
        received: &Passed,
    ) -> Ended {
        let (mut head, mut body) = response.into_parts();
        if matches!(self.session.target, Target::Fixed(_)) {
            mark_relayed(&mut head.headers);
        }
        self.status = Some(head.status.as_u16());
        self.grpc_status = grpc_code(&head.headers);
        let ends = body.is_end_stream();
        let head = Response::from_parts(head, ());
        let Ok(mut sink) = self.respond.send_response(head, ends) else {
            return Ended::Abandoned;
        };
        if ends {
            return Ended::Whole;
        }
        match upload.beside(pump(&mut body, &mut sink, received)).await {
            Some(Ok(trailers)) => {
                self.grpc_status = self.grpc_status.or(trailers.as_ref().and_then(grpc_code));
                if let Some(outcome) = trailers.as_ref().and_then(failed_late) {
                    taken.record(outcome);
                }
                Ended::Whole
            }
            Some(Err(Stuck::Source(error))) => {
                taken.record(ejection::Outcome::Reset);
                let reason = if taken.hold.was_silent() {
                    Reason::UpstreamSilent
                } else {
                    Reason::UpstreamReset
                };
                Ended::Reset(error.reason().unwrap_or(Code::INTERNAL_ERROR), reason)
            }
            Some(Err(Stuck::Sink)) | None => Ended::Abandoned,
        }
    }

    /// Whether another try follows the one that failed so.
    fn is_tried_again(
        &self,
        failed: (Failure, EndpointAddr),
        replayable: bool,
        tries: &mut Tries,
    ) -> bool {
        let latest = || self.session.current();
        tries.again(failed, replayable, latest, Instant::now())
    }

    fn not_sent(&self, error: Unconnected, tries: &mut Tries) -> Tried<Ended> {
        let at = EndpointAddr(error.addr);
        let latest = || self.session.current();
        if tries.unconnected((at, error.reason), latest, Instant::now()) {
            Tried::Again(FailedTry::unanswered(error.addr, error.reason))
        } else {
            Tried::Last(Ended::Failed(error.reason))
        }
    }

    fn unanswered(
        &self,
        no_response: NoResponse,
        taken: &mut Taken,
        tries: &mut Tries,
        sent: &Passed,
    ) -> Tried<Ended> {
        let Some((failure, reason)) = no_response.failure() else {
            return Tried::Last(Ended::Abandoned);
        };
        if no_response.ends_connection() {
            taken.hold.is_over();
        }
        taken.record(match failure {
            // The client may be the slow one.
            Failure::TimedOut if sent.awaits_source() => ejection::Outcome::Cancelled,
            failure => failure.outcome(),
        });
        if self.is_tried_again((failure, taken.endpoint()), sent.is_kept(), tries) {
            return Tried::Again(FailedTry::unanswered(taken.addr, reason));
        }
        Tried::Last(match no_response {
            NoResponse::Reset(code) => Ended::Reset(code, reason),
            NoResponse::Refused | NoResponse::Ending => Ended::Reset(Code::REFUSED_STREAM, reason),
            NoResponse::Silent | NoResponse::Malformed => Ended::Failed(reason),
            NoResponse::Closed | NoResponse::Gone => Ended::Failed(Reason::UpstreamClosed),
            NoResponse::Late => Ended::Failed(Reason::ResponseTimeout),
            NoResponse::Abandoned => Ended::Abandoned,
        })
    }
}
