//! What is told of a request at its end: to the trace that it is part of, and in the
//! access log.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use netting_telemetry::{
    access_log::{Entry, Kind},
    connections::Direction,
    requests::{self, Call, Method, Version, grpc},
    trace::{Begun, http::Request, received::Context},
};

use crate::{
    addr::{ClientAddr, OriginalDst},
    policy::FailedTry,
    proxy::Proxy,
    reason::Reason,
};

/// What a request's head says, as it went on. Empty, if it could not be read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told<'h> {
    pub(crate) method: &'h [u8],
    /// Without its query, which may hold what is nobody's business.
    pub(crate) path: &'h [u8],
    pub(crate) authority: Option<&'h [u8]>,
    pub(crate) user_agent: Option<&'h [u8]>,
    pub(crate) trace: Context,
}

/// How a request ended.
pub(crate) struct Ended<'e> {
    pub(crate) client: ClientAddr,
    pub(crate) dst: OriginalDst,
    pub(crate) upstream: Option<SocketAddr>,
    /// As in the access log.
    pub(crate) protocol: &'static str,
    /// Bytes from the client, all in all.
    pub(crate) sent: u64,
    /// And back.
    pub(crate) received: u64,
    pub(crate) resent: u32,
    pub(crate) failed: Option<Reason>,
    /// What the instruments were told.
    pub(crate) counted: &'e requests::Ended<'e>,
}

/// A try of a request, after which there is another one.
pub(crate) struct Try<'e> {
    pub(crate) client: ClientAddr,
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// The path of a call of gRPC.
    pub(crate) call: Option<&'e str>,
    /// How often the request had been sent before.
    pub(crate) resent: u32,
    pub(crate) failed: FailedTry,
}

impl<'h> Told<'h> {
    /// What the target of a request says (RFC 9112 section 3.2).
    pub(crate) fn of(target: &'h [u8]) -> Self {
        let scheme = target.windows(3).position(|part| part == b"://");
        let path = match scheme {
            Some(scheme) if target.first() != Some(&b'/') => {
                let behind = &target[scheme + 3..];
                let path = behind.iter().position(|byte| matches!(byte, b'/' | b'?'));
                path.map_or(&b"/"[..], |path| &behind[path..])
            }
            _ => target,
        };
        let query = path.iter().position(|byte| *byte == b'?');
        Self {
            path: &path[..query.unwrap_or(path.len())],
            ..Self::default()
        }
    }
}

fn known(bytes: &[u8]) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

impl Ended<'_> {
    /// To who reads the log, for whom it is the same at both ends: nobody served it. What
    /// is the caller's own doing, a 4xx or `NOT_FOUND`, is none.
    pub(crate) fn has_failed(&self) -> bool {
        let is_failure = |code| grpc::is_failure(grpc::name(code), Direction::Inbound);
        let call = self.counted.call.as_ref();
        let call_failed = call.and_then(|call| call.status).is_some_and(is_failure);
        let status = self.counted.status;
        self.failed.is_some() || call_failed || status.is_none_or(|status| status >= 500)
    }
}

impl Proxy {
    /// Whether anybody is told of a request beside the instruments.
    pub(crate) fn tells(&self, span: Option<&Begun>, ended: &Ended<'_>) -> bool {
        span.is_some()
            || self
                .access_log
                .wants(ended.has_failed(), ended.counted.took)
    }

    /// Tells of it. Only what few requests, or all of them by somebody's wish, have to
    /// bear the cost of.
    #[cold]
    pub(crate) fn tell(&self, span: Option<Box<Begun>>, told: &Told<'_>, ended: &Ended<'_>) {
        let now = SystemTime::now();
        let took = ended.counted.took;
        let sampled = span.is_some() || told.trace.sampled == Some(true);
        if self.access_log.wants(ended.has_failed(), took) {
            self.access_log
                .write(&self.entry(told, ended, (now, sampled)));
        }
        if let (Some(span), Some(tracer)) = (span, &self.tracer) {
            tracer.ended(self.request(told, ended).span(*span));
        }
    }

    /// Tells of a try, and begins the span of the one that follows, which its upstream is
    /// to be told of. To who is asked it is one request all the same, and one span.
    #[cold]
    pub(crate) fn tell_try(&self, span: &mut Begun, told: &Told<'_>, tried: &Try<'_>) -> bool {
        let tracer = self.tracer.as_ref();
        let Some(tracer) = tracer.filter(|_| self.direction == Direction::Outbound) else {
            return false;
        };
        let FailedTry {
            at,
            reason,
            status,
            grpc_status,
        } = tried.failed;
        let call = |path| Call {
            path,
            status: grpc_status,
        };
        let counted = requests::Ended {
            method: tried.method,
            version: tried.version,
            status,
            error: None,
            call: tried.call.map(call),
            took: Duration::ZERO,
            sent: 0,
            received: 0,
            trace: None,
        };
        let request = Request {
            resent: tried.resent,
            // A response says itself what was wrong with it.
            reason: status.is_none().then(|| reason.as_str()),
            ..self.asked(told, tried.client, Some(at), &counted)
        };
        let begun = std::mem::replace(span, span.again());
        tracer.ended(request.span(begun));
        true
    }

    fn entry<'e>(
        &self,
        told: &Told<'e>,
        ended: &Ended<'_>,
        (at, sampled): (SystemTime, bool),
    ) -> Entry<'e> {
        let call = ended.counted.call.as_ref();
        Entry {
            kind: Kind::Request,
            at,
            direction: self.direction,
            client: ended.client.0,
            dst: ended.dst.0,
            upstream: ended.upstream,
            protocol: ended.protocol,
            sni: None,
            method: known(told.method),
            path: known(told.path),
            authority: told.authority,
            user_agent: told.user_agent,
            status: ended.counted.status,
            grpc_status: call.and_then(|call| call.status).map(grpc::name),
            sent: ended.sent,
            received: ended.received,
            took: ended.counted.took,
            resent: ended.resent,
            reason: ended.failed.map(Reason::as_str),
            failed: ended.has_failed(),
            trace: told.trace.at,
            sampled,
        }
    }

    fn request<'r>(&self, told: &Told<'r>, ended: &Ended<'r>) -> Request<'r> {
        Request {
            resent: ended.resent,
            reason: ended.failed.map(Reason::as_str),
            ..self.asked(told, ended.client, ended.upstream, ended.counted)
        }
    }

    /// What is told of each try.
    fn asked<'r>(
        &self,
        told: &Told<'r>,
        ClientAddr(client): ClientAddr,
        upstream: Option<SocketAddr>,
        counted: &'r requests::Ended<'r>,
    ) -> Request<'r> {
        // What is no text has no place in a span; the access log has it byte by byte.
        let text = |bytes: &'r [u8]| str::from_utf8(bytes).ok();
        Request {
            direction: self.direction,
            ended: counted,
            method: text(told.method).unwrap_or_default(),
            path: text(told.path).unwrap_or_default(),
            authority: told.authority.and_then(text),
            user_agent: told.user_agent.and_then(text),
            client,
            upstream,
            resent: 0,
            reason: None,
        }
    }
}

#[cfg(test)]
mod tests;
