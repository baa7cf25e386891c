//! What real sidecars tell real backends: a client's pod and a server's, and receivers
//! at their node.
//!
//! Needs root, and a receiver of OTLP generated from the official protocol:
//! `hack/test.sh telemetry` installs it.

#[path = "../harness/lib.rs"]
mod harness;
#[path = "../peers/pods.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod pods;

mod receivers;
mod traces;
