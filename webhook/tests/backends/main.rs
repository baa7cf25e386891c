//! What is injected, and what the manifests deploy, as a real Prometheus finds it.
//!
//! Needs the programs that `hack/test.sh telemetry` installs.

#[path = "../../../telemetry/tests/backends/backends.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod backends;
#[path = "../../../telemetry/tests/backends/process.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod process;
#[path = "../../../telemetry/tests/backends/query.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod query;

mod discovered;
mod found;

/// Where backends listen.
const LISTEN: &str = "127.0.0.1";
