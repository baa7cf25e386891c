//! Snapshots as Prometheus reads them.
//!
//! In reading order:
//! - [`names`]: a metric's name in Prometheus' alphabet;
//! - [`text`](text()): the exposition, of either format;
//! - [`negotiation`]: which format, and whether compressed;
//! - [`router`]: `GET /metrics`.

mod names;
mod negotiation;
mod router;
mod text;

pub use names::{label_name, metric_name};
pub use negotiation::{Format, accepts_gzip, negotiate};
pub use router::router;
pub use text::text;
