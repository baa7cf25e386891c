//! The exporters against the programs that people run, and against some that mean no
//! good.
//!
//! `hack/test.sh telemetry` installs the programs: Debian's `prometheus`, `influxdb`,
//! `graphite-carbon` and `victoria-metrics`, npm's `statsd`, and Python's protocol of
//! OpenTelemetry. A test without them fails, and says so.

#[path = "../documented/asked.rs"]
mod asked;
mod backends;
mod boards;
mod everything;
mod hostile;
#[path = "../documented/instruments.rs"]
mod instruments;
mod load;
mod process;
mod query;
mod secured;

/// Where backends listen.
const LISTEN: &str = "127.0.0.1";
