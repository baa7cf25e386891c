//! What is told of a request at its end: to the trace that it is part of, and in the
//! access log.

use std::{net::SocketAddr, time::SystemTime};

use netting_telemetry::{
    access_log::{Entry, Kind},
    requests::{self, grpc},
    trace::{Begun, http::Request, received::Context},
};

use crate::{
    access_log::before,
    addr::{ClientAddr, OriginalDst},
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
    /// To who reads the log; whose doing it was is not asked.
    pub(crate) fn has_failed(&self) -> bool {
        let status = self.counted.status;
        self.failed.is_some() || status.is_none_or(|status| status >= 500)
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
            let span = self.request(told, ended).span(*span, before(now, took));
            tracer.ended(span);
        }
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
        // What is no text has no place in a span; the access log has it byte by byte.
        let text = |bytes: &'r [u8]| str::from_utf8(bytes).ok();
        Request {
            direction: self.direction,
            ended: ended.counted,
            method: text(told.method).unwrap_or_default(),
            path: text(told.path).unwrap_or_default(),
            authority: told.authority.and_then(text),
            user_agent: told.user_agent.and_then(text),
            client: ended.client.0,
            upstream: ended.upstream,
            resent: ended.resent,
            reason: ended.failed.map(Reason::as_str),
        }
    }
}

#[cfg(test)]
mod tests;
