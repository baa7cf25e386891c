//! Traces: where a request is in one, whether it is looked at, and what is told of it.
//!
//! All of this is plain data and plain functions. In reading order:
//!
//! - [`id`]: traces and spans by their numbers;
//! - [`field`]: the fields of a request that carry a context;
//! - [`w3c`], [`b3`]: what they say, by either standard;
//! - [`received`]: what all fields of a request come to;
//! - [`propagators`]: in which formats, if somebody has said so;
//! - [`sampler`]: whether a trace that nobody has decided on is kept;
//! - [`begun`]: a span under way, and what the next one is told of it;
//! - [`span`]: one that has ended;
//! - [`http`]: how a request is told, by OpenTelemetry's conventions;
//! - [`tracer`]: what begins spans, and where they go at their end;
//! - [`work`]: what a process does itself, [`served`]: and is asked for.

pub mod b3;
pub mod begun;
pub mod field;
pub mod http;
pub mod id;
pub mod propagators;
pub mod received;
pub mod sampler;
pub mod served;
pub mod span;
pub mod tracer;
pub mod w3c;
pub mod work;

pub use begun::Begun;
pub use field::Field;
pub use id::{SpanId, TraceId};
pub use propagators::Propagators;
pub use received::Received;
pub use sampler::Sampler;
pub use span::Span;
pub use tracer::Tracer;
pub use work::Work;

/// What somebody else chose is cut in a span at this length.
const TEXT_BYTES_MAX: usize = 1024;

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
