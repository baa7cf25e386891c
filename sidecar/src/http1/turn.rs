//! One request, from its head to the end of its response.

use netting_telemetry::{
    requests::{self, Method, Version},
    trace::Begun,
};
use tokio::time::Instant;

use super::{
    attempts::Ended,
    buffer::{lend_out, take_back},
    exchange::Outcome,
    head,
    message::Message,
    request::Request,
    session::{Session, Target, send},
    upstream::Taken,
};
use crate::{
    http::{fault::Fault, told},
    reason::Reason,
};

/// What becomes of the connection after a request.
pub(super) enum After {
    /// It waits for the next one.
    Next,
    /// It ends, and the client knows or is told so.
    Close(Reason),
    /// It ends at once.
    Reset(Reason),
    /// It becomes a tunnel, in which the request is under way as long as it lasts.
    Tunnel(Box<Taken>),
}

/// A request, beside what came of it.
struct Turn {
    begun: Instant,
    method: Method,
    version: Version,
    span: Option<Box<Begun>>,
    failed: Option<Reason>,
}

impl Session<'_> {
    /// One request, to the end of its response.
    pub(super) async fn request(&mut self, request: &Request, mut head: Vec<u8>) -> After {
        let begun = Instant::now();
        self.decide();
        let method = Method::of_head(&head);
        self.span = self.begin_span(&mut head);
        let _active = self.traffic.requests.begin(method);
        let mut upload = Message::new(head, request.body);
        let along = upload.take_along(&mut self.downstream);
        let mut ended = match along {
            Ok(()) => self.exchange(request, &mut upload).await,
            Err(_) => Ended::without_upstream(Outcome::Failed(Reason::RequestMalformed)),
        };
        // Faults don't say that they keep a connection, as HTTP/1.0 would have it.
        let keeps_alive = request.keeps_alive && request.is_11;
        let stays = keeps_alive && upload.is_taken() && !self.waiter.is_draining();
        let (after, failed) = self.end(ended.outcome, request, stays).await;
        let turn = Turn {
            begun,
            method,
            version: Version::of_http1(request.is_11),
            span: self.span.take(),
            failed,
        };
        self.note(turn, &ended, &upload);
        take_back(upload.head);
        match ended.outcome {
            Outcome::Done { upstream_stays, .. } => ended.give_back(self, upstream_stays),
            Outcome::Tunnel => {
                let tunnel = |taken| After::Tunnel(Box::new(taken));
                return ended.taken.take().map_or(after, tunnel);
            }
            _ => {}
        }
        after
    }

    /// What the client's connection comes to, and why the request failed if it did. The
    /// client is told if there is no response: its connection stays only if it `stays`.
    async fn end(
        &mut self,
        outcome: Outcome,
        request: &Request,
        stays: bool,
    ) -> (After, Option<Reason>) {
        match outcome {
            Outcome::Done {
                downstream_stays: true,
                ..
            } => (After::Next, None),
            Outcome::Done { .. } | Outcome::Tunnel => (After::Close(Reason::Finished), None),
            // Unwanted is what is tried again, and never the end.
            Outcome::Unread | Outcome::Unanswered | Outcome::Unwanted => {
                let reason = Reason::UpstreamClosed;
                (self.fail(reason, request, stays).await, Some(reason))
            }
            Outcome::Failed(reason) => {
                let stays = stays && reason != Reason::RequestMalformed;
                (self.fail(reason, request, stays).await, Some(reason))
            }
            Outcome::BrokenOff(reason) => (After::Reset(reason), Some(reason)),
            // Not with a reset, which would take what is still on its way.
            Outcome::CutShort => {
                let reason = Reason::UpstreamClosed;
                (After::Close(reason), Some(reason))
            }
            Outcome::Abandoned => {
                let reason = Reason::DownstreamReset;
                (After::Reset(reason), Some(reason))
            }
        }
    }

    /// Begins the request's span, if its trace is kept.
    fn begin_span(&self, head: &mut Vec<u8>) -> Option<Box<Begun>> {
        // What may be outside of the mesh is sent nothing of ours.
        if matches!(self.target, Target::Undecided(_)) {
            return None;
        }
        let tracer = self.proxy.tracer.as_ref()?;
        // What an upstream has already cannot be changed any more.
        let untouched = self.begun.is_none();
        untouched.then(|| head::begin(tracer, head)).flatten()
    }

    /// Answers in the application's place.
    async fn fail(&mut self, reason: Reason, request: &Request, stays: bool) -> After {
        let mut out = lend_out();
        Fault::of(reason).write_http1(request.is_head, stays, &mut out);
        let sent = send(&self.downstream, &out).await;
        take_back(out);
        match (sent, stays) {
            (false, _) => After::Reset(Reason::DownstreamReset),
            (true, true) => After::Next,
            (true, false) => After::Close(reason),
        }
    }

    fn note(&self, turn: Turn, ended: &Ended, upload: &Message) {
        let status = match ended.outcome {
            Outcome::Failed(reason) => Some(Fault::of(reason).status),
            Outcome::Unread | Outcome::Unanswered => Some(Fault::of(Reason::UpstreamClosed).status),
            _ => ended.status,
        };
        let all = &self.traffic;
        let traffic = ended.taken.as_ref().map_or(all, |at| at.traffic(all));
        traffic.sent(upload.passed);
        traffic.received(ended.received);
        let counted = requests::Ended {
            method: turn.method,
            version: turn.version,
            status,
            error: turn.failed.map(Reason::as_str),
            call: None,
            took: turn.begun.elapsed(),
            sent: upload.body_passed(),
            received: ended.received_body,
            trace: turn.span.as_ref().map(|span| span.context()),
        };
        traffic.requests.ended(&counted);
        let ended = told::Ended {
            client: self.client,
            dst: self.dst,
            upstream: ended.upstream,
            protocol: "http1",
            sent: upload.passed,
            received: ended.received,
            resent: ended.resent,
            failed: turn.failed,
            counted: &counted,
        };
        if self.proxy.tells(turn.span.as_deref(), &ended) {
            self.proxy
                .tell(turn.span, &head::told(&upload.head), &ended);
        }
    }
}
