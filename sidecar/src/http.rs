//! What HTTP connections of all versions have in common.

pub(crate) mod fault;
pub(crate) mod host;
pub(crate) mod idle;
pub(crate) mod limits;
pub(crate) mod told;
