//! The flags for what a pod gets that says nothing.

use std::time::Duration;

use crate::names::SidecarMode;

use super::{
    AccessLog, Budget, Cidr, Exporters, LogFilter, PodOptions, PortRange, Quantity,
    resources::{memory_limit, memory_request},
};

/// What a pod gets where neither it nor its namespace chooses.
#[derive(Clone, Debug, clap::Args)]
pub struct Defaults {
    /// Ports of pods that are not proxied, such as 22,8000-8010
    #[arg(
        long,
        env = "NETTING_SKIP_INBOUND_PORTS",
        value_name = "PORTS",
        value_delimiter = ','
    )]
    pub skip_inbound_ports: Vec<PortRange>,

    /// Ports elsewhere that are not proxied
    #[arg(
        long,
        env = "NETTING_SKIP_OUTBOUND_PORTS",
        value_name = "PORTS",
        value_delimiter = ','
    )]
    pub skip_outbound_ports: Vec<PortRange>,

    /// Sources that are not proxied, such as 10.0.0.0/8,fd00::/8
    #[arg(
        long,
        env = "NETTING_SKIP_INBOUND_CIDRS",
        value_name = "CIDRS",
        value_delimiter = ','
    )]
    pub skip_inbound_cidrs: Vec<Cidr>,

    /// Destinations that are not proxied
    #[arg(
        long,
        env = "NETTING_SKIP_OUTBOUND_CIDRS",
        value_name = "CIDRS",
        value_delimiter = ','
    )]
    pub skip_outbound_cidrs: Vec<Cidr>,

    /// Ports, of pods and elsewhere, whose connections are passed on without a look
    /// at what they carry
    #[arg(
        long,
        env = "NETTING_OPAQUE_PORTS",
        value_name = "PORTS",
        value_delimiter = ','
    )]
    pub opaque_ports: Vec<PortRange>,

    /// Log filter of the sidecar
    #[arg(
        long,
        env = "NETTING_PROXY_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub proxy_log: LogFilter,

    /// What the sidecar writes a line about: off, errors or all; options follow, as in
    /// errors;slow=500ms;format=json;to=stdout
    #[arg(
        long,
        env = "NETTING_PROXY_ACCESS_LOG",
        value_name = "WHAT",
        default_value = "off"
    )]
    pub proxy_access_log: AccessLog,

    /// Where the sidecar's measurements go, such as
    /// prometheus,otlp=http://$(HOST_IP):4317;interval=10s
    #[arg(
        long,
        env = "NETTING_PROXY_TELEMETRY",
        value_name = "EXPORTERS",
        default_value = "prometheus"
    )]
    pub proxy_telemetry: Exporters,

    /// How long the sidecar waits for open connections once it is told to stop; 2
    /// seconds less than the pod's grace period if not given
    #[arg(long, env = "NETTING_PROXY_DRAIN_TIMEOUT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub proxy_drain_timeout: Option<Duration>,

    /// Have the sidecar ask httpGet probes and hooks too, where a pod doesn't choose. It
    /// always asks tcpSocket and grpc probes
    #[arg(long, env = "NETTING_REWRITE_HTTP_PROBES")]
    pub rewrite_http_probes: bool,

    /// Annotate pods with prometheus.io/scrape, for the sidecar's metrics to be scraped,
    /// where neither the pod nor its namespace says whether they are
    #[arg(long, env = "NETTING_SCRAPE_ANNOTATIONS")]
    pub scrape_annotations: bool,

    /// Leave prometheus.io/port and prometheus.io/path of pods as they are, where neither
    /// the pod nor its namespace says whether the sidecar is to serve the application's
    /// metrics with its own
    #[arg(long, env = "NETTING_NO_MERGE_METRICS")]
    pub no_merge_metrics: bool,

    /// CPU (cores) that the sidecar requests
    #[arg(
        long,
        env = "NETTING_PROXY_CPU_REQUEST",
        value_name = "QUANTITY",
        default_value = "10m"
    )]
    pub proxy_cpu_request: Quantity,

    /// CPU (cores) that the sidecar is limited to; no limit if not given
    #[arg(long, env = "NETTING_PROXY_CPU_LIMIT", value_name = "QUANTITY")]
    pub proxy_cpu_limit: Option<Quantity>,

    /// Memory (bytes) that the sidecar requests
    #[arg(
        long,
        env = "NETTING_PROXY_MEMORY_REQUEST",
        value_name = "QUANTITY",
        value_parser = memory_request,
        default_value = "16Mi"
    )]
    pub proxy_memory_request: Quantity,

    /// Memory (bytes) that the sidecar is limited to, 8Mi or more; no limit if not given
    #[arg(
        long,
        env = "NETTING_PROXY_MEMORY_LIMIT",
        value_name = "QUANTITY",
        value_parser = memory_limit
    )]
    pub proxy_memory_limit: Option<Quantity>,
}

/// Flags that contradict each other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--proxy-{resource}-limit is below --proxy-{resource}-request; raise it or leave it out")]
pub struct LimitBelowRequest {
    resource: &'static str,
}

impl Defaults {
    /// The same as options.
    ///
    /// # Errors
    /// If a limit is below its request.
    pub fn pod_options(&self, mode: SidecarMode) -> Result<PodOptions, LimitBelowRequest> {
        let budget = |resource, request: &Quantity, limit: &Option<Quantity>| {
            Budget::new(request.clone(), limit.clone()).ok_or(LimitBelowRequest { resource })
        };
        Ok(PodOptions {
            skip_inbound_ports: self.skip_inbound_ports.clone(),
            skip_outbound_ports: self.skip_outbound_ports.clone(),
            skip_inbound_cidrs: self.skip_inbound_cidrs.clone(),
            skip_outbound_cidrs: self.skip_outbound_cidrs.clone(),
            opaque_ports: self.opaque_ports.clone(),
            cpu: budget("cpu", &self.proxy_cpu_request, &self.proxy_cpu_limit)?,
            memory: budget(
                "memory",
                &self.proxy_memory_request,
                &self.proxy_memory_limit,
            )?,
            log: self.proxy_log.clone(),
            access_log: self.proxy_access_log.clone(),
            telemetry: self.proxy_telemetry.clone(),
            mode,
            drain_timeout: self.proxy_drain_timeout,
            rewrite_http_probes: self.rewrite_http_probes,
            scrape_annotations: self.scrape_annotations,
            merge_metrics: !self.no_merge_metrics,
        })
    }
}
