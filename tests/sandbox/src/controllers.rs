//! The controllers of the box, as clients of its API.
