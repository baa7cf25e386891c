//! End-to-end tests: what a user does to a cluster, and what comes of it.
//!
//! The same tests run in three ways, chosen by the environment:
//!
//! | set | the cluster |
//! |---|---|
//! | nothing | the sandbox: an embedded Kubernetes API and a node agent, one for each test |
//! | `NETTING_KUBECONFIG` | a real API server, with the sandbox's node agent as its node |
//! | that, `NETTING_IMAGE` and `NETTING_TEST_IMAGE` | a whole real cluster, which can pull these images |
//!
//! A real API server has its controllers beside it, and needs no scheduler. It and the node agent are
//! on one machine, in one network namespace: the server reaches webhooks at their Services' addresses
//! and pods at their own, and its Service `kubernetes` must lead to where it listens.
//!
//! `NETTING_BIN_DIR` is where the binaries are; by default where this one was built.
//! In reading order:
//!
//! - [`cluster`]: where the tests run;
//! - [`mesh`]: Netting installed in it, from the manifests that users apply;
//! - [`apps`]: applications to deploy;
//! - [`cli`]: the command that users have;
//! - [`observe`]: what became of them;
//! - [`inventory`]: all that a cluster has, before and after;
//! - [`meshed`]: all of that together, as most tests begin.

pub mod apps;
pub mod cli;
pub mod cluster;
pub mod inventory;
pub mod mesh;
pub mod meshed;
pub mod observe;

pub use apps::{App, Namespace};
pub use cluster::Cluster;
pub use mesh::Mesh;
pub use meshed::Meshed;
