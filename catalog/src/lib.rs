//! Cluster state to sidecar streams: watches the API server, keeps one index,
//! serves it over gRPC and HTTP. In reading order:
//!
//! - [`objects`]: what is needed of Kubernetes objects, parsed where they arrive;
//! - [`index`]: the pure index, from an address to its state;
//! - [`publisher`]: the index's one owner, who tells what changed;
//! - [`session`]: one sidecar's conversation, pure too; [`wire`]: its messages;
//! - [`streams`]: the gRPC side; [`accept`]: its connections.

pub mod accept;
pub mod index;
pub mod objects;
pub mod publisher;
pub mod session;
pub mod streams;
pub mod wire;

#[cfg(test)]
mod test_cluster;
