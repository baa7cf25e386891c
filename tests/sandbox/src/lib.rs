//! A cluster in a box: the real binaries of a cluster's workloads on one Linux machine, without
//! containers and without a cluster.
//!
//! In reading order:
//! - [`up`]: `netting-sandbox up`, which makes the box (namespaces of its own) and starts the parts;
//! - [`api`]: the embedded Kubernetes API, a store of JSON objects behind HTTPS;
//! - [`controllers`]: Deployments, EndpointSlices, scheduling and Jobs, as clients of that API;
//! - [`node`]: the node agent, which runs pods as processes. It serves any Kubernetes API.

pub mod api;
pub mod controllers;
pub mod node;
pub mod up;
