//! One module for each command, with its flags.

pub mod completions;
pub mod inject;
pub mod render;
pub mod uninject;
pub mod version;
