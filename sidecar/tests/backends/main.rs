//! What real sidecars tell real backends: a client's pod and a server's, and backends at
//! their node.
//!
//! Needs root, and the programs that `hack/test.sh telemetry` installs.

#[path = "../../../telemetry/tests/backends/backends.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod backends;
#[path = "../harness/lib.rs"]
mod harness;
#[path = "../peers/pods.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod pods;
#[path = "../../../telemetry/tests/backends/process.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod process;
#[path = "../../../telemetry/tests/backends/query.rs"]
mod query;
#[path = "../../../telemetry/tests/backends/zipkin.rs"]
mod zipkin;

mod application;
#[path = "../../../telemetry/tests/documented/asked.rs"]
mod asked;
mod bad;
mod boards;
mod collector;
mod control_plane;
mod counted;
mod ended;
mod exemplars;
mod kept;
mod logs;
mod receivers;
mod scraped;
mod strangers;
mod traces;

/// Where backends listen: in a network namespace of their own, for pods to reach them.
const LISTEN: &str = "0.0.0.0";

/// The node's address, for its pods.
const NODE: &str = "10.0.0.1";
