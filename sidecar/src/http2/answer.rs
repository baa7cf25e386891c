//! What an upstream answers to a request.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::Poll,
};

use bytes::Bytes;
use h2::{Reason as Code, RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response, header, request, response};

use super::{head::fields_bytes, pool::Hold, pump::Passed};
use crate::{
    ejection,
    http::fault::Fault,
    policy::{Failure, Kind, Reported},
    reason::Reason,
};

pub(super) const GRPC_STATUS: &str = "grpc-status";
pub(super) const PROXY_STATUS: &str = "proxy-status";
/// What `:status` takes in a head (RFC 9113 section 6.5.2).
const STATUS_BYTES: usize = 42;

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoResponse {
    /// The upstream's connection was over before the request was sent.
    Closed,
    /// The upstream's connection is at its end, and the request was not looked at.
    Ending,
    /// The upstream did not look at the request.
    Refused,
    /// The upstream reset the stream.
    Reset(Code),
    /// The upstream's connection is gone.
    Gone,
    /// The upstream gave no sign of life.
    Silent,
    /// It broke the rules, or was too large.
    Malformed,
    /// It did not come in time.
    Late,
    /// The client reset the stream.
    Abandoned,
}

impl NoResponse {
    fn of(error: &h2::Error) -> Self {
        let by_upstream = error.is_remote();
        match error.reason() {
            // Streams behind the last one that a GOAWAY names were not looked at
            // (RFC 9113 section 6.8).
            _ if by_upstream && error.is_go_away() => NoResponse::Ending,
            Some(Code::REFUSED_STREAM) if by_upstream => NoResponse::Refused,
            Some(code) if by_upstream && error.is_reset() => NoResponse::Reset(code),
            _ if error.is_library() && error.is_reset() => NoResponse::Malformed,
            _ => NoResponse::Gone,
        }
    }

    /// What it is to the service's policy, and how it is called. Nothing, if the client
    /// waits no longer.
    pub(super) fn failure(self) -> Option<(Failure, Reason)> {
        Some(match self {
            NoResponse::Closed | NoResponse::Ending | NoResponse::Refused => {
                (Failure::Refused, Reason::StreamRefused)
            }
            NoResponse::Reset(_) => (Failure::Reset, Reason::UpstreamReset),
            NoResponse::Gone => (Failure::Reset, Reason::UpstreamClosed),
            NoResponse::Silent => (Failure::Reset, Reason::UpstreamSilent),
            NoResponse::Malformed => (Failure::Reset, Reason::ResponseMalformed),
            NoResponse::Late => (Failure::TimedOut, Reason::ResponseTimeout),
            NoResponse::Abandoned => return None,
        })
    }

    /// Whether nothing more can be sent over the connection.
    pub(super) fn ends_connection(self) -> bool {
        use NoResponse::{Closed, Ending, Gone, Silent};
        matches!(self, Closed | Ending | Gone | Silent)
    }
}

/// Sends the request's head.
pub(super) async fn open(
    hold: &Hold,
    head: &request::Parts,
    ends: bool,
) -> Result<(ResponseFuture, SendStream<Bytes>), NoResponse> {
    let mut requests = hold.requests();
    let ready = poll_fn(|cx| requests.poll_ready(cx)).await;
    let request = Request::from_parts(head.clone(), ());
    let sent = ready.and_then(|()| requests.send_request(request, ends));
    // A connection that takes no more streams was sent nothing.
    sent.map_err(|_| NoResponse::Closed)
}

/// Whether a request asks for another protocol (RFC 8441).
pub(super) fn wants_protocol(head: &request::Parts) -> bool {
    head.extensions.get::<h2::ext::Protocol>().is_some()
}

/// Waits for the response, and passes interim ones on. With them, an answer has begun:
/// the request is not sent again. No window holds back who sends them: together, they may
/// be as large as one head.
pub(super) async fn answer(
    response: &mut ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    sent: &Passed,
    bytes_max: u32,
) -> Result<Response<RecvStream>, NoResponse> {
    let mut interim_bytes = 0;
    poll_fn(|cx| {
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(NoResponse::Abandoned));
        }
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            sent.let_go();
            interim_bytes += STATUS_BYTES + fields_bytes(interim.headers());
            if interim_bytes > bytes_max as usize {
                return Poll::Ready(Err(NoResponse::Malformed));
            }
            // A client that has gone is noticed above.
            let _ = respond.send_informational(interim);
        }
        let answered = Pin::new(&mut *response).poll(cx);
        answered.map_err(|error| NoResponse::of(&error))
    })
    .await
}

/// What a response says failed.
pub(super) fn failure(head: &response::Parts, by_sidecar: bool) -> Option<Failure> {
    let reported = reported(&head.headers).filter(|_| by_sidecar);
    Failure::of_response(head.status.as_u16(), grpc_code(&head.headers), reported)
}

fn reported(headers: &HeaderMap) -> Option<Reported> {
    let statuses = headers.get_all(PROXY_STATUS).iter();
    Fault::reported(statuses.map(HeaderValue::as_bytes))
}

/// Makes an answer of the application's, which it may have from a sidecar behind it, one
/// that no sidecar on the way takes for ours.
pub(super) fn mark_relayed(headers: &mut HeaderMap) {
    if reported(headers).is_some() {
        headers.append(PROXY_STATUS, HeaderValue::from_static(Fault::RELAYED));
    }
}

/// What trailers say failed, after a head that said nothing of it.
pub(super) fn failed_late(trailers: &HeaderMap) -> Option<ejection::Outcome> {
    let outcome = ejection::Outcome::of_grpc_status(grpc_code(trailers)?);
    (outcome != ejection::Outcome::Success).then_some(outcome)
}

/// Whether it is a call of gRPC: its type may name a format and parameters behind. Types
/// that only begin like it are others', as that of gRPC-Web, which has its status in its
/// body.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let behind = kind.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    behind.is_some_and(|behind| matches!(behind, [] | [b'+' | b';' | b' ', ..]))
}

/// What a request says of being done twice.
pub(super) fn kind(head: &request::Parts) -> Kind {
    match head.method.is_idempotent() {
        true => Kind::Idempotent,
        false if is_grpc(&head.headers) => Kind::Call,
        false => Kind::Other,
    }
}

/// What a gRPC call says of itself, in its trailers or in a head without a body.
pub(super) fn grpc_code(headers: &HeaderMap) -> Option<u32> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}
