//! What a line can have.

use std::{
    fmt::Display,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::entry::Entry;

/// One thing that is known of a request or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `time`
    Time,
    /// `kind`
    Kind,
    /// `direction`
    Direction,
    /// `client`
    Client,
    /// `dst`
    Dst,
    /// `upstream`
    Upstream,
    /// `protocol`
    Protocol,
    /// `sni`
    Sni,
    /// `method`
    Method,
    /// `authority`
    Authority,
    /// `path`
    Path,
    /// `status`
    Status,
    /// `grpc_status`
    GrpcStatus,
    /// `sent_bytes`
    SentBytes,
    /// `received_bytes`
    ReceivedBytes,
    /// `duration_ms`
    DurationMs,
    /// `resend_count`
    ResendCount,
    /// `reason`
    Reason,
    /// `user_agent`
    UserAgent,
    /// `trace_id`
    TraceId,
    /// `span_id`
    SpanId,
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'e> {
    /// What a client chose.
    Text(&'e [u8]),
    /// A word of our own.
    Word(&'static str),
    Number(u64),
    /// In milliseconds, to the microsecond.
    Duration(Duration),
    Time(SystemTime),
    Addr(SocketAddr),
    Id(&'e dyn Display),
}

impl Field {
    /// All of them, as a line of JSON has them.
    pub const ALL: [Self; 21] = [
        Self::Time,
        Self::Kind,
        Self::Direction,
        Self::Client,
        Self::Dst,
        Self::Upstream,
        Self::Protocol,
        Self::Sni,
        Self::Method,
        Self::Authority,
        Self::Path,
        Self::Status,
        Self::GrpcStatus,
        Self::SentBytes,
        Self::ReceivedBytes,
        Self::DurationMs,
        Self::ResendCount,
        Self::Reason,
        Self::UserAgent,
        Self::TraceId,
        Self::SpanId,
    ];

    /// The field of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// As templates and JSON have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.described().0
    }

    /// What it says, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.described().1
    }

    fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Time => (
                "time",
                "when it ended, in UTC, such as `2026-01-31T23:59:59.123Z`",
            ),
            Self::Kind => (
                "kind",
                "`request`, or `connection` for what is relayed as it is",
            ),
            Self::Direction => (
                "direction",
                "`inbound` to the application, or `outbound` from it",
            ),
            Self::Client => ("client", "address and port of who connected"),
            Self::Dst => ("dst", "address and port that the client was going to"),
            Self::Upstream => ("upstream", "address and port that it went to"),
            Self::Protocol => ("protocol", "`http1`, `http2`, `tls` or `tcp`"),
            Self::Sni => ("sni", "the name that the client's TLS asked for"),
            Self::Method => ("method", "the request's method"),
            Self::Authority => ("authority", "`Host` or `:authority`"),
            Self::Path => ("path", "the path, without its query"),
            Self::Status => ("status", "the HTTP status that the client got"),
            Self::GrpcStatus => ("grpc_status", "what a gRPC call ended with, such as `OK`"),
            Self::SentBytes => (
                "sent_bytes",
                "bytes that went from the client to the upstream",
            ),
            Self::ReceivedBytes => (
                "received_bytes",
                "bytes that went from the upstream to the client",
            ),
            Self::DurationMs => (
                "duration_ms",
                "from its beginning to its end, in milliseconds",
            ),
            Self::ResendCount => (
                "resend_count",
                "how often the request was sent again, if it was",
            ),
            Self::Reason => ("reason", "why a request failed, or how a connection ended"),
            Self::UserAgent => ("user_agent", "`User-Agent`"),
            Self::TraceId => ("trace_id", "the trace that the request is part of"),
            Self::SpanId => ("span_id", "its span in the trace, as the upstream was told"),
        }
    }

    /// Nothing, if that is not known or does not apply.
    pub(super) fn value<'e>(self, entry: &'e Entry<'_>) -> Option<Value<'e>> {
        Some(match self {
            Self::Time => Value::Time(entry.at),
            Self::Kind => Value::Word(entry.kind.as_str()),
            Self::Direction => Value::Word(entry.direction.as_str()),
            Self::Client => Value::Addr(entry.client),
            Self::Dst => Value::Addr(entry.dst),
            Self::Upstream => Value::Addr(entry.upstream?),
            Self::Protocol => Value::Word(entry.protocol),
            Self::Sni => Value::Text(entry.sni?.as_bytes()),
            Self::Method => Value::Text(entry.method?),
            Self::Authority => Value::Text(entry.authority?),
            Self::Path => Value::Text(entry.path?),
            Self::Status => Value::Number(entry.status?.into()),
            Self::GrpcStatus => Value::Word(entry.grpc_status?),
            Self::SentBytes => Value::Number(entry.sent),
            Self::ReceivedBytes => Value::Number(entry.received),
            Self::DurationMs => Value::Duration(entry.took),
            Self::ResendCount if entry.resent == 0 => return None,
            Self::ResendCount => Value::Number(entry.resent.into()),
            Self::Reason => Value::Word(entry.reason?),
            Self::UserAgent => Value::Text(entry.user_agent?),
            Self::TraceId => Value::Id(&entry.trace.as_ref()?.0),
            Self::SpanId => Value::Id(&entry.trace.as_ref()?.1),
        })
    }
}
