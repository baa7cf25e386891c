//! Real clients and real servers, each in a pod of its own: what they see through
//! both sidecars is what they see without.
//!
//! Each test starts a server, calls it, puts the rules and the sidecars into the two
//! pods, and makes the same calls again. Needs root, and the peers themselves:
//! `hack/test.sh peers` installs them.

#[path = "../harness/lib.rs"]
mod harness;

mod aiohttp;
mod counted;
mod curl;
mod databases;
mod ftp;
mod greeters;
mod grpc;
mod message;
mod nghttp;
mod nginx;
mod origin;
mod pods;
mod process;
mod python;
mod streams;
mod websocket;
