//! Netting's instruments, and how they reach whatever a team already runs.
//!
//! A series is looked up once, for a destination or a connection, and is then an atomic
//! to add to: no lock and no formatting where traffic passes. In reading order:
//!
//! - [`snapshot`]: what the instruments say at one moment, for any exporter;
//! - [`instrument`]: what is recorded into;
//! - [`labels`], [`registry`], [`metrics`]: all series of a process;
//! - [`buffer`]: what waits for its export;
//! - `cache`, `single`, [`by_label`]: series that are found again without a lock;
//! - [`prometheus`]: the exposition for whoever scrapes;
//! - [`access_log`]: a line for each request or connection;
//! - [`trace`]: where requests are in traces, and the spans that tell of them;
//! - [`resource`], [`process`]: what the process itself is and uses;
//! - [`peer`]: whom outbound traffic goes to;
//! - [`config`]: which exporters run, and how;
//! - [`export`]: those that send;
//! - [`proto`]: the protocols of others that some of them speak;
//! - [`connections`]: TCP connections through the sidecar;
//! - [`requests`]: HTTP requests and RPC calls through the sidecar;
//! - [`traffic`]: what goes to one peer, or to the application;
//! - [`discovery`]: the sidecar's side of the catalog stream;
//! - [`probes`]: the application's probes, where the sidecar asks them;
//! - the control plane's own: [`admission`], what the webhook answers;
//!   [`catalog`], what the catalog watches, holds and streams; [`control_plane`], how
//!   both start and end it.

pub mod access_log;
pub mod admission;
pub mod buffer;
pub mod by_label;
mod cache;
pub mod catalog;
pub mod config;
pub mod connections;
pub mod control_plane;
pub mod discovery;
pub mod export;
pub mod instrument;
pub mod labels;
pub mod metrics;
pub mod peer;
pub mod probes;
pub mod process;
pub mod prometheus;
pub mod proto;
pub mod registry;
pub mod requests;
pub mod resource;
mod single;
pub mod snapshot;
pub mod trace;
pub mod traffic;

pub use metrics::Metrics;
