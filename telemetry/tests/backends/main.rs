//! The exporters against the programs that people run, and against some that mean no
//! good.
//!
//! `hack/test.sh telemetry` installs the programs: Debian's `prometheus`, `influxdb`,
//! `graphite-carbon` and `victoria-metrics`, npm's `statsd`, and Python's protocol of
//! OpenTelemetry and `jsonschema`. A test without them fails, and says so.

mod alerts;
mod backends;
mod everything;
mod hostile;
mod load;
mod process;
mod query;
mod reached;
mod secured;
mod spans;
mod zipkin;

/// Where backends listen.
const LISTEN: &str = "127.0.0.1";
