//! Cluster state to sidecar streams: watches the API server, keeps one index,
//! serves it over gRPC and HTTP. In reading order:
//!
//! - [`objects`]: what is needed of Kubernetes objects, parsed where they arrive;
//! - [`index`]: the pure index, from an address to its state;
//! - [`publisher`]: the index's one owner, who tells what changed;
//! - [`session`]: one sidecar's conversation, pure too; [`wire`]: its messages;
//! - [`streams`]: the gRPC side; [`accept`]: its connections;
//! - [`queries`]: the HTTP side, for people and scripts;
//! - [`watch`]: what feeds the index; [`run`], [`args`]: the shell around it all.

pub mod accept;
pub mod args;
pub mod index;
pub mod objects;
pub mod publisher;
pub mod queries;
pub mod run;
pub mod session;
pub mod streams;
pub mod watch;
pub mod wire;

pub use args::Args;
pub use run::main;

#[cfg(test)]
mod test_api;
#[cfg(test)]
mod test_cluster;
