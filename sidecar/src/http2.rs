//! HTTP/2, passed on stream by stream.
//!
//! Each stream goes to an endpoint of its own choice, over connections that it
//! shares with others. Windows are opened only as far as the other side takes what
//! came, so that a slow reader slows its writer and nobody else. In reading order:
//!
//! - [`session`]: one downstream connection;
//! - [`stream`]: one request, to the end of its response;
//! - [`attempts`]: the same at one endpoint after another;
//! - [`upstream`]: the connection that it takes, of those in the [`pool`];
//! - [`keepalive`]: which of them is still there;
//! - [`answer`]: what an endpoint says to it;
//! - [`upload`], [`pump`]: bodies on their way;
//! - [`wire`]: what a connection's frames are written to;
//! - [`frames`]: which of those that come are read.

use std::time::Duration;

use crate::http::limits::Http2Limits;

mod answer;
mod attempts;
mod frames;
mod head;
mod keepalive;
pub(crate) mod pool;
mod pump;
pub(crate) mod session;
mod stream;
mod upload;
mod upstream;
mod wire;

/// Streams that a client opens and resets faster than they can be dealt with: that many,
/// and its connection ends (CVE-2023-44487).
const RESETS_MAX: usize = 128;

/// Streams to an upstream that were reset here and are remembered, with what is still on
/// its way from there: a client that goes takes all of its streams along. Each takes less
/// than a kilobyte.
const REMEMBERED_MAX: usize = 4096;
/// For how long they are: as long as a slow upstream may take to hear of it.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);
/// Frames of an upstream that break the rules of their streams, or come for those that are
/// remembered no longer, in all its time: that many, and its connection ends with all that
/// share it.
const BAD_FRAMES_MAX: usize = 8192;

/// What is held of each stream at most that its peer has a window for, and does not read
/// (CVE-2019-9517). As much as is written at once.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// What a client may do on one connection.
fn server(limits: &Http2Limits) -> h2::server::Builder {
    let mut server = h2::server::Builder::new();
    server
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_concurrent_streams(limits.streams_max)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        // The library's own refusal of what is larger says no reason. Heads in between are
        // refused with one.
        .max_header_list_size(limits.head_bytes_max.saturating_mul(2))
        // Which of the upstreams offers it shows when a stream asks for it.
        .enable_connect_protocol()
        .max_pending_accept_reset_streams(RESETS_MAX)
        // Those that were answered before all of the request had come. More of them cannot
        // be open at a time.
        .max_concurrent_reset_streams(limits.streams_max as usize);
    server
}

/// What an upstream may do on one connection.
fn client(limits: &Http2Limits) -> h2::client::Builder {
    let mut client = h2::client::Builder::new();
    client
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_header_list_size(limits.head_bytes_max)
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .max_concurrent_reset_streams(REMEMBERED_MAX)
        .reset_stream_duration(REMEMBERED_FOR)
        .max_local_error_reset_streams(Some(BAD_FRAMES_MAX))
        .enable_push(false);
    client
}

#[cfg(test)]
mod tests;
