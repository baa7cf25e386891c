//! What is told of requests and connections one by one, as flags.

use std::time::Duration;

use clap::{Args, ValueEnum};
use netting_telemetry::{
    access_log::{Format, Output},
    trace::sampler::Ratio,
};

/// What the access log has, and how.
#[derive(Args, Clone, Debug)]
pub struct AccessLogArgs {
    /// Which requests, and connections that carry none, are written to the access log
    /// when they end.
    #[arg(long, env = "NETTING_ACCESS_LOG", value_enum, default_value_t = AccessLog::Off)]
    pub access_log: AccessLog,

    /// How long a request may take before --access-log=errors has it, such as 500ms.
    /// Without it, none is too slow.
    #[arg(long, env = "NETTING_ACCESS_LOG_SLOW", value_parser = humantime::parse_duration)]
    pub access_log_slow: Option<Duration>,

    /// How a line of the access log looks: json, text, or a template such as
    /// '%{time} %{method} %{path} %{status} %{duration_ms}'. As the log if not given.
    #[arg(long, env = "NETTING_ACCESS_LOG_FORMAT")]
    pub access_log_format: Option<Format>,

    /// Where the access log is written: stdout, stderr, none, or the path of a file,
    /// which is opened anew after it was moved away. Exporters that send logs have it
    /// as well.
    #[arg(long, env = "NETTING_ACCESS_LOG_TO", default_value_t = Output::Stdout)]
    pub access_log_to: Output,
}

/// Which traces are kept.
#[derive(Args, Clone, Debug)]
pub struct TraceArgs {
    /// Which part of all traces is kept that nobody before has decided on, from 0 to 1.
    /// If not given, OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say so; or else it
    /// is 0.01. Only where an exporter sends spans.
    #[arg(long, env = "NETTING_TRACE_RATIO")]
    pub trace_ratio: Option<Ratio>,
}

/// What the access log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccessLog {
    /// Nothing.
    Off,
    /// Everything.
    All,
    /// What failed, or was slow.
    Errors,
}
