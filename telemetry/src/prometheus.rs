//! Snapshots as Prometheus reads them.
//!
//! In reading order:
//! - [`metric_name`]: a metric's name in Prometheus' alphabet;
//! - [`scraped`]: the exposition, of either format; [`text()`]: the same for ourselves;
//! - [`negotiate`]: which format;
//! - [`router()`]: `GET /metrics`; [`instruments_router`]: `GET /instruments`;
//! - [`merged_router`]: the same with what [`Application`] says of itself.

mod application;
mod merge;
mod merged;
mod names;
mod negotiation;
mod readable;
mod router;
mod target;
mod text;

pub use application::{Application, NotAnApplication};
pub use merged::merged_router;
pub use names::{label_name, metric_name};
pub use negotiation::{Format, accepts_gzip, negotiate};
pub use router::{instruments_router, router, router_beside};
pub use text::{scraped, text};

/// A label of all series that Prometheus has of us, and its value, by which they are told
/// from those that applications have of the same names:
/// <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#instrumentation-scope-1>.
/// The version of that scope is left to `netting_build_info`.
pub(crate) const SCOPE: (&str, &str) = ("otel_scope_name", "netting");
