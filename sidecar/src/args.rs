//! The command line, each flag with its `NETTING_*` fallback.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use netting_runtime::logging::LogFormat;
use netting_telemetry::prometheus::Application;

use crate::ports::PortSet;

mod host_port;
mod metrics;
mod telling;

pub use host_port::HostPort;
pub use metrics::{Bounds, MetricsArgs};
pub use telling::{AccessLog, AccessLogArgs, TraceArgs};

/// RFC 9113 section 6.9.1.
const HTTP2_WINDOW_MAX: i64 = (1 << 31) - 1;

/// The proxy beside every meshed application.
#[derive(Clone, Debug, Parser)]
#[command(name = "netting-sidecar", version, about)]
pub struct Args {
    /// What to do instead of being the proxy.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Port that the application's outbound connections are redirected to.
    #[arg(long, env = "NETTING_OUTBOUND_PORT", default_value_t = 15001)]
    pub outbound_port: u16,

    /// Port that connections to the application are redirected to.
    #[arg(long, env = "NETTING_INBOUND_PORT", default_value_t = 15006)]
    pub inbound_port: u16,

    /// Port of the admin server: /ready /live /metrics /instruments /config /log /probe.
    #[arg(long, env = "NETTING_ADMIN_PORT", default_value_t = 15020)]
    pub admin_port: u16,

    /// The catalog, as host:port. Its names are resolved anew for each connection,
    /// and any of their addresses will do.
    #[arg(
        long,
        env = "NETTING_CATALOG",
        default_value = "netting-catalog.netting.svc:15010"
    )]
    pub catalog: HostPort,

    /// Name of the pod, for logs and for the catalog.
    #[arg(long, env = "NETTING_POD_NAME", default_value = "")]
    pub pod_name: String,

    /// Namespace of the pod, for logs and for the catalog.
    #[arg(long, env = "NETTING_POD_NAMESPACE", default_value = "")]
    pub pod_namespace: String,

    /// Node that the pod runs on. Without it, services with
    /// `internalTrafficPolicy: Local` are passed through to their address.
    #[arg(long, env = "NETTING_NODE_NAME", default_value = "")]
    pub node_name: String,

    /// Kind of what the pod belongs to, such as Deployment, for telemetry.
    #[arg(long, env = "NETTING_WORKLOAD_KIND", default_value = "")]
    pub workload_kind: String,

    /// Name of what the pod belongs to, for telemetry. It is what its service is called
    /// there, unless OTEL_SERVICE_NAME says otherwise.
    #[arg(long, env = "NETTING_WORKLOAD_NAME", default_value = "")]
    pub workload_name: String,

    /// How long to be not ready at most while the catalog cannot be reached. After
    /// that connections pass through to where they are going.
    #[arg(long, env = "NETTING_CATALOG_WAIT", default_value = "2s", value_parser = humantime::parse_duration)]
    pub catalog_wait: Duration,

    /// How long the first connection to an address waits for the catalog's answer
    /// before it passes through.
    #[arg(long, env = "NETTING_DISCOVERY_TIMEOUT", default_value = "100ms", value_parser = humantime::parse_duration)]
    pub discovery_timeout: Duration,

    /// How long an address is still followed after its last connection; longer where the
    /// service's session affinity lasts longer.
    #[arg(long, env = "NETTING_DISCOVERY_IDLE", default_value = "5m", value_parser = humantime::parse_duration)]
    pub discovery_idle: Duration,

    /// How many addresses are followed at most. Others pass through.
    #[arg(long, env = "NETTING_DESTINATIONS_MAX", default_value_t = 8192)]
    pub destinations_max: usize,

    /// How long to wait for an endpoint to accept a connection, before another
    /// endpoint is tried.
    #[arg(long, env = "NETTING_CONNECT_TIMEOUT", default_value = "1s", value_parser = humantime::parse_duration)]
    pub connect_timeout: Duration,

    /// How long to wait where there is no other endpoint to try: for the
    /// application itself, and for what passes through.
    #[arg(long, env = "NETTING_PASS_THROUGH_CONNECT_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub pass_through_connect_timeout: Duration,

    /// How often in a row something is sent again, in vain, before the peer of an HTTP/1
    /// request or of a relayed connection is given up. The pauses double from 0.2s, so
    /// that 9 are two to three minutes. 0 leaves it to the kernel (tcp_retries2), which
    /// gives up after some 15 minutes. Peers that are there and read nothing are waited
    /// for. One that vanishes while nothing is on its way to it is noticed after two
    /// minutes in any case.
    #[arg(long, env = "NETTING_TCP_RETRIES", default_value_t = 9)]
    pub tcp_retries: u8,

    /// How long the peer of a connection may acknowledge nothing of what was sent to
    /// it (TCP_USER_TIMEOUT); 0 means as long as the kernel likes. It also ends
    /// connections to peers that read nothing for so long.
    #[arg(long, env = "NETTING_TCP_USER_TIMEOUT", default_value = "0s", value_parser = humantime::parse_duration)]
    pub tcp_user_timeout: Duration,

    /// Ports whose connections are relayed as they are, without a look at their
    /// protocol: a comma list of ports and ranges such as 25,3306,8000-8010. They
    /// are meant as the application writes them: of the Service when it connects,
    /// its own when it is connected to.
    #[arg(
        long,
        env = "NETTING_OPAQUE_PORTS",
        default_value = "",
        hide_default_value = true
    )]
    pub opaque_ports: PortSet,

    /// How long a client is given to speak first before its upstream is connected
    /// anyway, and to go on with what looks like the beginning of a protocol.
    #[arg(long, env = "NETTING_DETECT_WAIT", default_value = "10ms", value_parser = humantime::parse_duration)]
    pub detect_wait: Duration,

    /// How many bytes the head of an HTTP request or response may have.
    #[arg(long, env = "NETTING_HTTP_HEAD_BYTES_MAX", default_value_t = 65536)]
    pub http_head_bytes_max: usize,

    /// How long the head of an HTTP request may take to come.
    #[arg(long, env = "NETTING_HTTP_HEAD_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration)]
    pub http_head_timeout: Duration,

    /// How long an HTTP connection may wait for its next request, and a connection of
    /// any kind for the first word of either side.
    #[arg(long, env = "NETTING_HTTP_IDLE_TIMEOUT", default_value = "1h", value_parser = humantime::parse_duration)]
    pub http_idle_timeout: Duration,

    /// How many upstream connections each worker thread keeps for further HTTP
    /// requests, of HTTP/1 and of HTTP/2 each. More are open only while they are in use.
    #[arg(long, env = "NETTING_HTTP_POOL_MAX", default_value_t = 1024)]
    pub http_pool_max: usize,

    /// How long an upstream connection is kept for further HTTP requests.
    #[arg(long, env = "NETTING_HTTP_POOL_IDLE_TIMEOUT", default_value = "90s", value_parser = humantime::parse_duration)]
    pub http_pool_idle_timeout: Duration,

    /// How many bytes an HTTP/2 stream may send before any of them is passed on.
    #[arg(long, env = "NETTING_HTTP2_STREAM_WINDOW", default_value_t = 262_144,
        value_parser = clap::value_parser!(u32).range(65_535..=HTTP2_WINDOW_MAX))]
    pub http2_stream_window: u32,

    /// The same for all streams of an HTTP/2 connection together. An upstream connection gets
    /// no more streams than it has room for if none of them is read.
    #[arg(long, env = "NETTING_HTTP2_CONNECTION_WINDOW", default_value_t = 16_777_216,
        value_parser = clap::value_parser!(u32).range(65_535..=HTTP2_WINDOW_MAX))]
    pub http2_connection_window: u32,

    /// How many streams a client may have open on an HTTP/2 connection.
    #[arg(long, env = "NETTING_HTTP2_STREAMS_MAX", default_value_t = 1024)]
    pub http2_streams_max: u32,

    /// How long an upstream HTTP/2 connection may be silent while streams wait on it,
    /// before it is asked for a sign of life (PING). Endpoints without a sidecar are
    /// not asked more often than every 5 minutes, which servers of gRPC take offence
    /// at. 0 means never.
    #[arg(long, env = "NETTING_HTTP2_PING_INTERVAL", default_value = "30s", value_parser = humantime::parse_duration)]
    pub http2_ping_interval: Duration,

    /// How long the sign of life may take to come, before the connection is given up.
    #[arg(long, env = "NETTING_HTTP2_PING_TIMEOUT", default_value = "20s", value_parser = humantime::parse_duration)]
    pub http2_ping_timeout: Duration,

    /// How many connections are open at most, both ways together. Others are
    /// reset. 0 means as many as the process may have files open for.
    #[arg(long, env = "NETTING_CONNECTIONS_MAX", default_value_t = 0)]
    pub connections_max: usize,

    /// How the sidecar runs beside the application: native, told to end once the
    /// application has; or classic, told at the same time. A classic one stays after
    /// SIGTERM while anybody else in the pod has a TCP socket, and 3s longer (10s, if
    /// the kernel doesn't tell), but no longer than the drain may take.
    #[arg(long, env = "NETTING_SIDECAR_MODE", value_enum, default_value_t = SidecarMode::Native)]
    pub sidecar_mode: SidecarMode,

    /// How long running connections may take to finish after SIGTERM.
    #[arg(long, env = "NETTING_DRAIN_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// After SIGTERM, how long there must be no connection before the sidecar
    /// ends. Until then new ones are accepted. Connections that wait for a request,
    /// or on which neither side has said anything, are ended after as long.
    #[arg(long, env = "NETTING_DRAIN_QUIET", default_value = "500ms", value_parser = humantime::parse_duration)]
    pub drain_quiet: Duration,

    /// The application's probes and hooks that are asked at the admin port, as JSON.
    /// The webhook writes it.
    #[arg(long, env = "NETTING_PROBES", default_value = "{}")]
    pub probes: String,

    /// Worker threads. 0 means one for each CPU that the container may use, at most 4.
    #[arg(long, env = "NETTING_WORKER_THREADS", default_value_t = 0)]
    pub worker_threads: usize,

    /// Log filter: a level (error, warn, info, debug, trace) or directives such as
    /// info,netting_sidecar=debug.
    #[arg(long, env = "NETTING_LOG", default_value = "info")]
    pub log: String,

    /// Log format: json or text.
    #[arg(long, env = "NETTING_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What the access log has, and how.
    #[command(flatten)]
    pub access_log: AccessLogArgs,

    /// Where telemetry goes: a comma list of exporters with their options, such as
    /// prometheus,otlp=http://$(HOST_IP):4317;interval=10s. One that is wrong is left
    /// out. The OTEL_* variables of the OpenTelemetry specification are read as well.
    #[arg(long, env = "NETTING_TELEMETRY", default_value = "prometheus")]
    pub telemetry: String,

    /// The list that the pod has asked for instead, if nothing of that is right: why is
    /// logged, and told at /config. The webhook writes it.
    #[arg(
        long,
        env = "NETTING_TELEMETRY_LEFT_OUT",
        default_value = "",
        hide_default_value = true
    )]
    pub telemetry_left_out: String,

    /// Where the application serves its own metrics, as port and path: 9080/metrics.
    /// They are served with the sidecar's. The webhook writes it, by what the pod's
    /// annotations tell Prometheus.
    #[arg(long, env = "NETTING_APPLICATION_METRICS")]
    pub application_metrics: Option<Application>,

    /// Where the sidecar's metrics are served besides /metrics: /actuator/prometheus. The
    /// webhook writes it, where the pod's annotations have Prometheus ask each port there.
    #[arg(long, env = "NETTING_METRICS_PATH")]
    pub metrics_path: Option<String>,

    /// How metrics are kept.
    #[command(flatten)]
    pub metrics: MetricsArgs,

    /// Which traces are kept.
    #[command(flatten)]
    pub traces: TraceArgs,

    /// Resolver configuration that names are looked up with.
    #[arg(long, env = "NETTING_RESOLV_CONF", default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
}

/// How the sidecar runs beside the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SidecarMode {
    /// An init container that keeps running.
    Native,
    /// A container like the application's.
    Classic,
}

/// What else this binary does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Wait until the sidecar of this pod is ready, and exit with 0; with 1 if it
    /// is not in time.
    Wait {
        /// How long, such as 60s.
        #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn help_is_as_documented() {
        let help = Args::command()
            .term_width(80)
            .render_long_help()
            .to_string();
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help.txt");
        netting_golden::assert_golden(golden, &help);
    }
}
