//! What is well with a mesh and what is not, as data: from facts that were asked to
//! findings, each with what to do about it. Nothing here asks anybody. In reading
//! order:
//!
//! - [`finding`]: what can be found;
//! - [`facts`]: what is known, and what could not be asked;
//! - `cluster`, `rules`, `installation`, `certificate`, `sync`, `namespaces`, `pods`: from the one to the other;
//! - [`mod@report`]: all of it, in the order in which it is read.

mod certificate;
mod cluster;
pub mod facts;
pub mod finding;
mod installation;
mod namespaces;
mod pods;
pub mod report;
mod rules;
mod sync;
#[cfg(test)]
mod tests;

pub use facts::{Fact, Facts, Unknown};
pub use finding::{Code, Finding, Severity};
pub use namespaces::asks;
pub use report::Report;
