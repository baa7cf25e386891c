//! Snapshots as Prometheus reads them.
//!
//! In reading order:
//! - [`metric_name`]: a metric's name in Prometheus' alphabet;
//! - [`text()`]: the exposition, of either format;
//! - [`negotiate`]: which format;
//! - [`router()`]: `GET /metrics` or `/instruments`;
//! - [`merged_router`]: the same with what [`Application`] says of itself.

mod application;
mod merge;
mod merged;
mod names;
mod negotiation;
mod router;
mod target;
mod text;

pub use application::{Application, NotAnApplication};
pub use merged::merged_router;
pub use names::{label_name, metric_name};
pub use negotiation::{Format, accepts_gzip, negotiate};
pub use router::router;
pub use text::text;
