//! One line for each request or connection, at its end.
//!
//! Who proxies writes a line into memory of its own thread, and never waits for
//! whoever takes it away: what finds no room is counted. In reading order:
//!
//! - [`asked`]: which lines there are, and how they are asked for;
//! - [`entry`]: what is known of a request or a connection;
//! - [`field`]: what of that a line can have;
//! - [`mod@format`]: how a line looks, as JSON or by a template;
//! - `escape`: what clients choose, so that it cannot pass for anything else;
//! - [`lines`]: lines on their way out;
//! - [`writer`]: the thread that writes them, and [`output`], where to;
//! - [`record`]: the same for OTLP.

pub mod asked;
pub mod entry;
pub(crate) mod escape;
pub mod field;
pub mod format;
pub mod lines;
pub mod output;
pub mod record;
pub mod writer;

pub use asked::{Asked, BadAccessLog, Which};
pub use entry::{Entry, Kind};
pub use field::Field;
pub use format::Format;
pub use lines::Lines;
pub use output::Output;
pub use record::Record;
pub use writer::Writer;
