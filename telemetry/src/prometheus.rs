//! Snapshots as Prometheus reads them.
//!
//! In reading order:
//! - [`names`]: a metric's name in Prometheus' alphabet;
//! - [`text`](text()): the exposition, of either format;
//! - [`negotiation`]: which format, and whether compressed;
//! - [`router`]: `GET /metrics`;
//! - [`merged_router`]: the same with what [`Application`] says of itself.

mod application;
mod merge;
mod merged;
mod names;
mod negotiation;
mod router;
mod text;

pub use application::{Application, NotAnApplication};
pub use merged::merged_router;
pub use names::{label_name, metric_name};
pub use negotiation::{Format, accepts_gzip, negotiate};
pub use router::router;
pub use text::text;
