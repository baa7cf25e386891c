//! A span that has ended: plain data, for any exporter.

use std::{
    borrow::Cow,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::id::{SpanId, TraceId};

/// What happened, and where in a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace: TraceId,
    /// Its own.
    pub id: SpanId,
    /// Who asked for it. Nothing, if the trace begins here.
    pub parent: Option<SpanId>,
    /// W3C's `tracestate`.
    pub state: Option<String>,
    /// Whose view it is.
    pub kind: Kind,
    /// What happened, in words that are few for all spans together.
    pub name: Cow<'static, str>,
    /// When it began.
    pub begun: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Who was at the other end.
    pub remote: Option<SocketAddr>,
    /// What is known of it, by OpenTelemetry's conventions.
    pub attributes: Vec<Attribute>,
    /// It failed, for this reason if the status code does not say it.
    pub failed: Option<&'static str>,
}

/// Whose view a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who asks.
    Client,
    /// Who is asked.
    Server,
    /// Nobody else's: work within a process.
    Internal,
}

/// One thing that is known of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// By OpenTelemetry's conventions.
    pub key: &'static str,
    /// Its value.
    pub value: Value,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Any UTF-8.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// A count. No more than 2^63 of anything can be told.
impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Number(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}
