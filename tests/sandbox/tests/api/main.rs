//! The embedded API as its clients see it: over HTTPS, with nothing but what was recorded from a
//! real server, or what a real client library expects.

mod access;
mod admission;
mod clients;
mod controllers;
mod harness;
mod recorded;
mod rollout;
mod streams;
