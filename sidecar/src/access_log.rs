//! One line for each connection or request, at its end.

use std::{net::SocketAddr, time::Duration};

use crate::{addr::ClientAddr, args::AccessLog, reason::Reason};

/// What becomes of a line is the log filter's to say; this is its target.
const TARGET: &str = "netting_access";

/// A connection that was relayed as it is.
#[derive(Debug)]
pub(crate) struct Connection<'c> {
    pub(crate) direction: &'static str,
    pub(crate) client: ClientAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) upstream: SocketAddr,
    pub(crate) protocol: &'static str,
    /// The name that the client's TLS asked for.
    pub(crate) sni: Option<&'c str>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) lasted: Duration,
    pub(crate) reason: Reason,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    pub(crate) direction: &'static str,
    pub(crate) client: ClientAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) protocol: &'static str,
    /// Method, target, version.
    pub(crate) line: &'r [u8],
    pub(crate) status: Option<u16>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) took: Duration,
    /// Why it failed, if the sidecar knows.
    pub(crate) reason: Option<Reason>,
}

impl AccessLog {
    /// Whether something that ended well, or not, is to be written.
    #[must_use]
    pub fn wants(self, failed: bool) -> bool {
        match self {
            AccessLog::Off => false,
            AccessLog::All => true,
            AccessLog::Errors => failed,
        }
    }

    pub(crate) fn connection(self, ended: &Connection<'_>) {
        if !self.wants(ended.reason != Reason::Finished) {
            return;
        }
        tracing::info!(
            target: TARGET,
            direction = ended.direction,
            client = %ended.client,
            dst = %ended.dst,
            upstream = %ended.upstream,
            protocol = ended.protocol,
            sni = ended.sni,
            sent_bytes = ended.sent,
            received_bytes = ended.received,
            duration_ms = ended.lasted.as_millis(),
            reason = %ended.reason,
            "connection"
        );
    }

    /// Writes a line that is wanted.
    pub(crate) fn request(self, ended: &Request<'_>) {
        let line = String::from_utf8_lossy(ended.line);
        let mut parts = line.split(' ');
        let (method, target) = (parts.next(), parts.next());
        // Queries carry what is nobody's business.
        let path = target.map(|target| target.split('?').next().unwrap_or_default());
        tracing::info!(
            target: TARGET,
            direction = ended.direction,
            client = %ended.client,
            dst = %ended.dst,
            upstream = ended.upstream.map(tracing::field::display),
            protocol = ended.protocol,
            method,
            path,
            status = ended.status,
            sent_bytes = ended.sent,
            received_bytes = ended.received,
            duration_ms = ended.took.as_secs_f64() * 1e3,
            reason = ended.reason.map(Reason::as_str),
            "request"
        );
    }
}
