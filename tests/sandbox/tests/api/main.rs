//! The embedded API as its clients see it: over HTTPS, with nothing but what was recorded from a
//! real server, or what a real client library expects.

mod access;
mod admission;
mod clients;
mod controllers;
mod deletion;
mod harness;
mod kubectl;
mod recorded;
mod reviews;
mod rollout;
mod streams;
mod webhook;
mod writes;
