//! Cluster state to sidecar streams: watches the API server, keeps one index,
//! serves it over gRPC and HTTP. In reading order:
//!
//! - [`objects`]: what is needed of Kubernetes objects, parsed where they arrive;
//! - [`index`]: the pure index, from an address to its state.

pub mod index;
pub mod objects;

#[cfg(test)]
mod test_cluster;
