//! How much HTTP connections may take, and for how long.

use std::time::Duration;

/// Bounds and times of HTTP connections.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Bytes of a request's or response's head.
    pub head_bytes_max: usize,
    /// How long a head may take to come.
    pub head_timeout: Duration,
    /// How long a connection may wait for the next request.
    pub idle_timeout: Duration,
    /// The same, while the sidecar drains.
    pub drain_quiet: Duration,
    /// Upstream connections of a thread that wait for a request.
    pub pool_max: usize,
    /// How long they do.
    pub pool_idle_timeout: Duration,
}

/// Bounds of HTTP/2 connections, on both sides.
#[derive(Clone, Copy, Debug)]
pub struct Http2Limits {
    /// Bytes that a stream may send before any of them is taken.
    pub stream_window: u32,
    /// Bytes that all streams of a connection may.
    pub connection_window: u32,
    /// Streams that a client may have open on a connection.
    pub streams_max: u32,
    /// Bytes of a request's or response's head.
    pub head_bytes_max: u32,
    /// Upstream connections of a thread, unless more of them are in use.
    pub pool_max: usize,
    /// How long an upstream may be silent before it is asked for a sign of life; zero
    /// for ever.
    pub ping_interval: Duration,
    /// How long that may take.
    pub ping_timeout: Duration,
}
