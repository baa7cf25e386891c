//! `netting`: installs the mesh, injects manifests, and says what the mesh does and
//! why. In reading order:
//!
//! - [`args`]: the command line;
//! - [`exit`]: what exit codes mean;
//! - [`cluster`]: which cluster is asked, and why it can't be;
//! - [`output`]: tables for people, JSON and YAML for programs;
//! - [`manifests`]: what is installed;
//! - [`files`]: manifests that are given; [`edit`]: what is done to them;
//! - [`commands`]: one module for each command, with its flags.

pub mod args;
pub mod cluster;
pub mod commands;
pub mod edit;
pub mod exit;
pub mod files;
pub mod manifests;
pub mod output;

pub use args::Args;
pub use exit::Exit;
