//! The clients: as many requests as go, and requests at a fixed rate.

pub(crate) mod paced;
pub(crate) mod saturating;
