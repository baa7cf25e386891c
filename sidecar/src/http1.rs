//! HTTP/1.1 and 1.0, passed on.
//!
//! Heads are read for what concerns the connections and written on as they came:
//! order, case and reason phrases are the application's. Bodies go through as they
//! are framed, interim responses as any other. What leaves doubt about where a
//! message ends is refused. In reading order:
//!
//! - [`session`]: one downstream connection, request after request;
//! - [`exchange`]: one request and its response;
//! - [`request`], [`response`], [`fields`], [`body`]: what messages say;
//! - [`side`], [`buffer`]: the two connections, and what was read from them;
//! - [`pool`]: upstream connections that wait for another request.

mod body;
mod buffer;
mod exchange;
mod fields;
pub(crate) mod pool;
mod request;
mod response;
pub(crate) mod session;
mod side;

/// Fields of one head. More than any client sends.
const HEADERS_MAX: usize = 256;

#[cfg(test)]
mod tests;
