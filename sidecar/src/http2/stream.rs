//! One request and its response.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Reason as Code, RecvStream, server::SendResponse};
use http::{Method, Request, Response, StatusCode, header, request};
use netting_telemetry::{
    requests::{self, Call, Version as Spoken},
    trace::Begun,
};
use tokio::time::Instant;

use super::{
    answer::{GRPC_STATUS, PROXY_STATUS, is_grpc},
    attempts::Message,
    head::{begin, complete, told},
    pump::Passed,
    session::Busy,
};
use crate::{
    destination::Endpoint,
    http::{fault::Fault, told},
    reason::Reason,
};

/// A stream of the downstream connection.
pub(super) struct Stream {
    pub(super) session: Busy,
    pub(super) respond: SendResponse<Bytes>,
    begun: Instant,
    /// How long its response took, if that ended before the request.
    took: Option<Duration>,
    pub(super) status: Option<u16>,
    /// How the call ended, if it is one of gRPC.
    pub(super) grpc_status: Option<u32>,
    pub(super) upstream: Option<SocketAddr>,
    /// The same, if it was chosen.
    pub(super) endpoint: Option<Arc<Endpoint>>,
    /// How often it was sent again.
    pub(super) resent: u32,
    /// Of a trace that is kept, and of the last try.
    pub(super) span: Option<Box<Begun>>,
}

/// How a stream ended.
pub(super) enum Ended {
    /// As the upstream wanted.
    Whole,
    /// There is no response, and the client is told so.
    Failed(Reason),
    /// The response has ended as the upstream wanted. The rest of the request does not go on.
    Cut(Reason),
    /// Its other half was reset with this code, as this one is now.
    Reset(Code, Reason),
    /// The client reset it.
    Abandoned,
}

impl Stream {
    pub(super) fn new(session: Busy, respond: SendResponse<Bytes>) -> Self {
        Self {
            session,
            respond,
            begun: Instant::now(),
            took: None,
            status: None,
            grpc_status: None,
            upstream: None,
            endpoint: None,
            resent: 0,
            span: None,
        }
    }

    /// Passes the request on, and its response back.
    pub(super) async fn run(mut self, request: Request<RecvStream>) {
        let (mut head, mut body) = request.into_parts();
        let known = self.session.current();
        let method = requests::Method::of(head.method.as_str().as_bytes());
        let _active = self.session.traffic().requests.begin(method);
        let (sent, received) = (Passed::keeping(), Passed::default());
        let bytes_max = self.session.proxy.http2.pool.limits().head_bytes_max;
        let ended = match complete(&mut head, bytes_max) {
            Ok(()) => {
                // What may be outside of the mesh is sent nothing of ours.
                let is_told = known.is_some() || !self.session.is_undecided();
                let tracer = self.session.proxy.tracer.as_ref().filter(|_| is_told);
                self.span = tracer.and_then(|tracer| begin(tracer, &mut head.headers));
                let request = Message {
                    head: &mut head,
                    has_body: !body.is_end_stream(),
                    body: &mut body,
                    sent: &sent,
                };
                self.exchange(known, request, &received).await
            }
            Err(reason) => Ended::Failed(reason),
        };
        let failed = match ended {
            Ended::Whole => None,
            Ended::Failed(reason) => {
                self.fail(reason, &head);
                Some(reason)
            }
            Ended::Reset(code, reason) => {
                self.respond.send_reset(code);
                Some(reason)
            }
            // Let go of, it is reset once the response is sent, with NO_ERROR.
            Ended::Cut(reason) => Some(reason),
            Ended::Abandoned => Some(Reason::DownstreamReset),
        };
        self.note(method, failed, &head, (sent.bytes(), received.bytes()));
    }

    /// The response has ended, and the request goes on.
    pub(super) fn has_answer(&mut self) {
        self.took = Some(self.begun.elapsed());
    }

    /// Answers in the application's place.
    fn fail(&mut self, reason: Reason, head: &request::Parts) {
        let fault = Fault::of(reason);
        let text = if head.method == Method::HEAD {
            String::new()
        } else {
            fault.text()
        };
        let response = if is_grpc(&head.headers) {
            Response::builder()
                .status(StatusCode::OK)
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(GRPC_STATUS, fault.grpc_status())
                .header("grpc-message", format!("netting: {reason}"))
        } else {
            Response::builder()
                .status(fault.status)
                .header(header::CONTENT_TYPE, "text/plain")
        };
        let ends = is_grpc(&head.headers) || text.is_empty();
        self.grpc_status = fault.grpc_status().parse().ok();
        let response = response.header(PROXY_STATUS, fault.proxy_status());
        let response = response.body(()).expect("all of it is plain text");
        self.status = Some(response.status().as_u16());
        // A client that has gone needs no answer.
        if let Ok(mut sink) = self.respond.send_response(response, ends)
            && !ends
        {
            let _ = sink.send_data(text.into(), true);
        }
    }

    fn note(
        &mut self,
        method: requests::Method,
        failed: Option<Reason>,
        head: &request::Parts,
        (sent, received): (u64, u64),
    ) {
        let span = self.span.take();
        let all = self.session.traffic();
        let endpoint = self.endpoint.as_ref();
        let traffic = endpoint.map_or(all, |at| at.traffic(all));
        traffic.sent(sent);
        traffic.received(received);
        let call = is_grpc(&head.headers).then(|| Call {
            path: head.uri.path(),
            status: self.grpc_status,
        });
        let counted = requests::Ended {
            method,
            version: Spoken::Http2,
            status: self.status,
            error: failed.map(Reason::as_str),
            call,
            took: self.took.unwrap_or_else(|| self.begun.elapsed()),
            sent,
            received,
            trace: span.as_ref().map(|span| span.context()),
        };
        traffic.requests.ended(&counted);
        let ended = told::Ended {
            client: self.session.client,
            dst: self.session.dst,
            upstream: self.upstream,
            protocol: "http2",
            sent,
            received,
            resent: self.resent,
            failed,
            counted: &counted,
        };
        let proxy = &self.session.proxy;
        if proxy.tells(span.as_deref(), &ended) {
            proxy.tell(span, &told(head), &ended);
        }
    }
}
