//! One module for each command, with its flags.

pub mod catalog;
pub mod check;
pub mod completions;
pub mod config;
pub mod edges;
pub mod explain;
pub mod inject;
pub mod install;
pub mod log_level;
mod named;
pub mod render;
pub mod stat;
pub mod support_bundle;
pub mod top;
pub mod uninject;
pub mod uninstall;
pub mod upgrade;
pub mod version;
