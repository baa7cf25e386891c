//! Netting's instruments, and how they reach whatever a team already runs.
//!
//! An instrument is looked up once, for a connection or a stream, and is then a
//! counter to add to: no lock and no formatting where traffic passes. In reading
//! order:
//!
//! - [`snapshot`]: what the instruments say at one moment, for any exporter;
//! - [`metrics`]: the registry of a process, and its exposition for Prometheus;
//! - [`process`]: what the process itself uses;
//! - [`config`]: which exporters run, and how;
//! - [`proto`]: the protocols of others that some of them speak;
//! - [`connections`]: TCP connections through the sidecar;
//! - [`requests`]: HTTP requests through the sidecar;
//! - [`discovery`]: the sidecar's side of the catalog stream;
//! - [`probes`]: the application's probes, where the sidecar asks them;
//! - the control plane's own: [`admission`], what the webhook answers;
//!   [`catalog`], what the catalog watches, holds and streams.

pub mod admission;
pub mod catalog;
pub mod config;
pub mod connections;
pub mod discovery;
pub mod metrics;
pub mod probes;
pub mod process;
pub mod proto;
pub mod requests;
pub mod snapshot;

pub use metrics::Metrics;
