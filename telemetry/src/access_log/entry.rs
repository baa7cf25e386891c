//! What is known of a request or a connection at its end.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use crate::{
    connections::Direction,
    trace::{SpanId, TraceId},
};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection that was relayed as it is.
    Connection,
    /// A request and its response.
    Request,
}

impl Kind {
    /// As in lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Request => "request",
        }
    }
}

/// What is known of it. What a client chose is bytes, and may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'e> {
    /// What it is about.
    pub kind: Kind,
    /// When it ended.
    pub at: SystemTime,
    /// Which way it went.
    pub direction: Direction,
    /// Who asked.
    pub client: SocketAddr,
    /// Where that one was going.
    pub dst: SocketAddr,
    /// Where it went.
    pub upstream: Option<SocketAddr>,
    /// What was spoken.
    pub protocol: &'static str,
    /// The name that the client's TLS asked for.
    pub sni: Option<&'e str>,
    /// Of a request, its method.
    pub method: Option<&'e [u8]>,
    /// Its path, without the query, which may hold what is nobody's business.
    pub path: Option<&'e [u8]>,
    /// `Host` or `:authority`
    pub authority: Option<&'e [u8]>,
    /// `User-Agent`
    pub user_agent: Option<&'e [u8]>,
    /// The status that the client got.
    pub status: Option<u16>,
    /// What a call of gRPC says of itself.
    pub grpc_status: Option<&'static str>,
    /// Bytes that went from the client to the upstream.
    pub sent: u64,
    /// Bytes that went from the upstream to the client.
    pub received: u64,
    /// From its beginning to its end.
    pub took: Duration,
    /// How often a request was sent again.
    pub resent: u32,
    /// Why it failed, or how a connection ended.
    pub reason: Option<&'static str>,
    /// It failed.
    pub failed: bool,
    /// The trace that it is part of, and its span in that, as the upstream was told.
    pub trace: Option<(TraceId, SpanId)>,
    /// The trace is kept.
    pub sampled: bool,
}
