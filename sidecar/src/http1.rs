//! HTTP/1.1 and 1.0, passed on.
//!
//! Heads are read for what concerns the connections and written on as they came:
//! order, case and reason phrases are the application's. Bodies go through as they
//! are framed, interim responses as any other. What leaves doubt about where a
//! message ends is refused. In reading order:
//!
//! - [`session`]: one downstream connection, request after request;
//! - [`turn`]: one request, to the end of its response; or its [`refusal`];
//! - [`linger`]: for how long a client is heard that was told to end;
//! - [`attempts`]: the same at one upstream after another;
//! - [`upstream`]: the connection that it takes, perhaps of those in the [`pool`];
//! - [`exchange`]: messages between two connections;
//! - [`request`], [`response`], [`fields`], [`body`]: what messages say;
//! - [`message`]: a message on its way, and what is kept of it to be sent again;
//! - [`side`], [`buffer`]: the two connections, and what was read from them.

mod attempts;
mod body;
mod buffer;
mod exchange;
mod fields;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod linger;
mod message;
pub(crate) mod pool;
mod refusal;
mod request;
mod response;
pub(crate) mod session;
mod side;
mod turn;
mod upstream;

/// Fields of one head. More than any client sends.
const HEADERS_MAX: usize = 256;

#[cfg(test)]
mod tests;
