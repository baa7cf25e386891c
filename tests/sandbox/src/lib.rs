//! A cluster in a box: the real binaries of a cluster's workloads on one Linux machine, without
//! containers and without a cluster.
//!
//! In reading order:
//! - [`up`]: `netting-sandbox up`, which makes the box (namespaces of its own) and starts the parts;
//! - [`api`]: the embedded Kubernetes API, a store of JSON objects behind HTTPS, with its controllers
//!   (Deployments, Jobs, EndpointSlices);
//! - [`node`]: the node agent, which runs pods as processes. It serves any Kubernetes API.

pub mod api;
mod https;
pub mod node;
mod outgoing;
pub mod up;
