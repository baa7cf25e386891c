//! `netting`: installs the mesh, injects manifests, and says what the mesh does and
//! why. In reading order:
//!
//! - [`args`]: the command line;
//! - [`exit`]: what exit codes mean;
//! - [`cluster`]: which cluster is asked, and why it can't be;
//! - [`output`]: tables for people, JSON and YAML for programs;
//! - [`manifests`]: what is installed; [`installation`]: it, in a cluster;
//! - [`files`]: manifests that are given; [`edit`]: what is done to them;
//! - [`forward`]: HTTP to a port of a pod; [`mesh`], [`sidecar`] and [`queries`]: what
//!   sidecars and the catalog answer; [`exposition`] and [`instruments`]: their metrics;
//! - [`workload`]: what pods belong to; [`admission`]: what the webhook says of them;
//! - [`mod@check`]: what is well and what is not; [`explain`]: why things are as they are;
//!   [`traffic`], [`stat`] and [`edges`]: what the mesh carries;
//! - [`commands`]: one module for each command, with its flags.

pub mod admission;
pub mod args;
pub mod check;
pub mod cluster;
pub mod commands;
pub mod edges;
pub mod edit;
pub mod exit;
pub mod explain;
pub mod exposition;
pub mod files;
pub mod forward;
pub mod installation;
pub mod instruments;
pub mod manifests;
pub mod mesh;
pub mod output;
pub mod queries;
pub mod sidecar;
pub mod stat;
pub mod traffic;
pub mod workload;

pub use args::Args;
pub use exit::{Exit, run};
