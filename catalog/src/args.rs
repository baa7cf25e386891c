//! The command line, each flag with its `NETTING_*` fallback.

use std::time::Duration;

use clap::Parser;
use netting_runtime::logging::LogFormat;
use netting_telemetry::trace::sampler::Ratio;

use crate::streams::Limits;

/// Below this, heartbeats would be most of what is sent.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// What the Kubernetes client logs of a failed request, and what its watcher logs of
/// one that is forbidden, is said again where the failure is dealt with.
const LOG: &str = "info,kube_client::client=off,kube_runtime::watcher=off";

/// Tells sidecars, and people, what is behind each address in the cluster. The API
/// server is found by the pod's service account, or by KUBECONFIG
#[derive(Clone, Debug, Parser)]
#[command(name = "netting-catalog", version)]
pub struct Args {
    /// Port of the gRPC server that sidecars stream from
    #[arg(long, env = "NETTING_GRPC_PORT", default_value_t = 15010)]
    pub grpc_port: u16,

    /// Port of the HTTP server for queries: /v1/catalog and /v1/health
    #[arg(long, env = "NETTING_HTTP_PORT", default_value_t = 15080)]
    pub http_port: u16,

    /// Port of the admin server: /ready /live /metrics /instruments /log
    #[arg(long, env = "NETTING_ADMIN_PORT", default_value_t = 15020)]
    pub admin_port: u16,

    /// How often each side of a stream says something, be it only a heartbeat; at
    /// least 100ms. A side that is silent for three intervals counts as gone
    #[arg(long, env = "NETTING_HEARTBEAT_INTERVAL", default_value = "10s", value_parser = heartbeat_interval)]
    pub heartbeat_interval: Duration,

    /// How many streams are open at most. Others are refused, and try another
    /// replica
    #[arg(long, env = "NETTING_STREAMS_MAX", default_value_t = 10_000, value_parser = at_least_one)]
    pub streams_max: usize,

    /// How many addresses one stream may follow. Others are answered as unknown,
    /// so that connections to them pass through
    #[arg(long, env = "NETTING_SUBSCRIPTIONS_MAX", default_value_t = 10_000, value_parser = at_least_one)]
    pub subscriptions_max: usize,

    /// How many HTTP queries may wait for a change at once. Others are answered
    /// with 429
    #[arg(
        long,
        env = "NETTING_WAITING_QUERIES_MAX",
        default_value_t = 256,
        value_parser = at_least_one
    )]
    pub waiting_queries_max: usize,

    /// How long running answers may take to finish after SIGTERM
    #[arg(long, env = "NETTING_DRAIN_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// Log filter: a level (error, warn, info, debug, trace) or directives such as
    /// info,netting_catalog=debug. The client library is silent by default, for its
    /// errors are told with their cause
    #[arg(long, env = "NETTING_LOG", default_value = LOG)]
    pub log: String,

    /// Log format: json or text
    #[arg(long, env = "NETTING_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Where telemetry goes: a comma list of exporters with their options, such as
    /// `prometheus,otlp=http://collector.monitoring:4317;interval=10s`. One that is wrong
    /// is left out. The OTEL_* variables of the OpenTelemetry specification are read as
    /// well
    #[arg(
        long,
        env = "NETTING_TELEMETRY",
        value_name = "EXPORTERS",
        default_value = "prometheus"
    )]
    pub telemetry: String,

    /// Which part of all traces is kept that nobody before has decided on, from 0 to 1.
    /// If not given, OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say so; or else it
    /// is 0.01. Only where an exporter sends spans
    #[arg(long, env = "NETTING_TRACE_RATIO", value_name = "RATIO")]
    pub trace_ratio: Option<Ratio>,

    /// Name of the catalog's own pod, for telemetry
    #[arg(long, env = "NETTING_POD_NAME", default_value = "")]
    pub pod_name: String,

    /// Namespace of the catalog's own pod, for telemetry
    #[arg(long, env = "NETTING_POD_NAMESPACE", default_value = "")]
    pub pod_namespace: String,
}

impl Args {
    /// How much the streams may take.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            streams_max: self.streams_max,
            subscriptions_max: self.subscriptions_max,
            heartbeat_interval: self.heartbeat_interval,
        }
    }
}

fn heartbeat_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < HEARTBEAT_MIN || interval > Duration::from_secs(3600) {
        return Err("expected 100ms to 1h".to_owned());
    }
    Ok(interval)
}

/// The most that a semaphore counts is far beyond what a process can hold.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("expected 1 to 1000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn refuses_flags_that_are_wrong_and_says_what_is_expected() {
        for (flag, says) in [
            ("--heartbeat-interval=0s", "100ms to 1h"),
            ("--heartbeat-interval=10", "unit"),
            ("--streams-max=0", "1 to 1000000"),
            ("--subscriptions-max=-1", "1 to 1000000"),
            ("--waiting-queries-max=many", "1 to 1000000"),
            ("--grpc-port=99999", "99999"),
            ("--trace-ratio=2", "from 0 to 1"),
        ] {
            let refused = Args::try_parse_from(["netting-catalog", flag]);
            let refused = refused.expect_err("the flag is wrong").to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn help_is_as_documented() {
        let command = Args::command().mut_args(|arg| arg.hide_env_values(true));
        let help = command.term_width(100).render_long_help().to_string();
        netting_golden::assert_golden(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help.txt"),
            &help,
        );
    }
}
