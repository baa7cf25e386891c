//! The command line, each flag with its `NETTING_*` fallback.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use netting_runtime::logging::LogFormat;
use netting_telemetry::trace::sampler::Ratio;

use crate::{
    names::{self, SidecarMode},
    options::{Defaults, ImagePullPolicy, LimitBelowRequest, Options, PodSecurity},
};

/// Decides which pods are injected with a Netting sidecar, and patches them.
#[derive(Clone, Debug, Parser)]
#[command(name = "netting-webhook", version, about)]
pub struct Args {
    /// Port of the HTTPS server that the API server sends its requests to
    #[arg(long, env = "NETTING_HTTPS_PORT", default_value_t = 8443)]
    pub https_port: u16,

    /// Port of the admin server: /ready /live /metrics /instruments /log
    #[arg(long, env = "NETTING_ADMIN_PORT", default_value_t = 15020)]
    pub admin_port: u16,

    /// Namespace that Netting runs in, whose pods are never injected
    #[arg(long, env = "NETTING_POD_NAMESPACE", default_value = "netting")]
    pub pod_namespace: String,

    /// Name of the webhook's own pod, which its Events tell
    #[arg(long, env = "NETTING_POD_NAME", default_value = "netting-webhook")]
    pub pod_name: String,

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

    /// Name of the Service in front of the webhook, which its certificate is for
    #[arg(long, env = "NETTING_SERVICE", default_value = names::WEBHOOK)]
    pub service: String,

    /// Name of the MutatingWebhookConfiguration whose caBundle is kept
    #[arg(long, env = "NETTING_WEBHOOK_CONFIGURATION", default_value = names::WEBHOOK_CONFIGURATION)]
    pub webhook_configuration: String,

    /// Name of the Secret, in the webhook's own namespace, of the certificate to serve
    /// with. If there is none, a certificate and its CA are made, written to it, renewed
    /// in time, and the CA kept in the MutatingWebhookConfiguration. A Secret that
    /// somebody else has written (type kubernetes.io/tls, and ca.crt for the
    /// configuration) is served if the API server would accept it: for the Service's
    /// name, signed by ca.crt, in date
    #[arg(
        long,
        env = "NETTING_TLS_SECRET",
        value_name = "NAME",
        default_value = names::WEBHOOK_SECRET
    )]
    pub tls_secret: String,

    /// PEM file of the certificate chain to serve with, leaf first, instead of the
    /// Secret's. It is read again when it changes, and held to the same check
    #[arg(
        long,
        env = "NETTING_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// PEM file of the certificate's private key
    #[arg(
        long,
        env = "NETTING_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// PEM file of the CAs to keep in the MutatingWebhookConfiguration. Without it, with
    /// a certificate from files, that is left to whoever made them
    #[arg(
        long,
        env = "NETTING_TLS_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_ca: Option<PathBuf>,

    /// Image that is injected, for both the init container and the sidecar
    #[arg(long, env = "NETTING_IMAGE", default_value = concat!("ghcr.io/netting-dev/netting:", env!("CARGO_PKG_VERSION")))]
    pub image: String,

    /// When the kubelet pulls the injected image; left to Kubernetes if not given
    #[arg(long, env = "NETTING_IMAGE_PULL_POLICY", value_name = "POLICY")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Where sidecars find the catalog, as host:port
    #[arg(
        long,
        env = "NETTING_CATALOG",
        default_value_t = names::catalog_in("netting")
    )]
    pub catalog: String,

    /// The catalog's ClusterIP and port, for pods whose dnsPolicy is None or Default
    #[arg(long, env = "NETTING_CATALOG_ADDRESS", value_name = "IP:PORT")]
    pub catalog_address: Option<SocketAddr>,

    /// How the sidecar runs where neither a pod nor its namespace chooses. Native
    /// sidecars need Kubernetes 1.29, which auto looks at
    #[arg(
        long,
        env = "NETTING_SIDECAR_MODE",
        value_name = "MODE",
        default_value = "auto"
    )]
    pub sidecar_mode: SidecarChoice,

    /// Which pods the API server would refuse with netting-init in them.
    #[command(flatten)]
    pub pod_security: PodSecurity,

    /// What pods get where neither they nor their namespaces choose.
    #[command(flatten)]
    pub defaults: Defaults,

    /// How long the webhook still accepts connections after SIGTERM, not ready any more:
    /// until every node has heard of that
    #[arg(long, env = "NETTING_SHUTDOWN_DELAY", default_value = "5s", value_parser = humantime::parse_duration)]
    pub shutdown_delay: Duration,

    /// How long the webhook may take to finish after SIGTERM, the shutdown delay included
    #[arg(long, env = "NETTING_DRAIN_TIMEOUT", default_value = "15s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// Log filter: a level (error, warn, info, debug, trace) or directives such as
    /// info,netting_webhook=debug
    #[arg(long, env = "NETTING_LOG", default_value = "info")]
    pub log: String,

    /// Log format: json or text
    #[arg(long, env = "NETTING_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// The webhook's own choice of how sidecars run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SidecarChoice {
    /// Native where the API server's version has native sidecars, classic elsewhere.
    Auto,
    /// Native, without asking the API server.
    Native,
    /// Classic.
    Classic,
}

impl Args {
    /// How pods are injected.
    ///
    /// # Errors
    /// If a limit is below its request.
    pub fn options(&self) -> Result<Options, LimitBelowRequest> {
        let mode = match self.sidecar_mode {
            // Where there are no native sidecars, `native_sidecars` overrules it.
            SidecarChoice::Auto | SidecarChoice::Native => SidecarMode::Native,
            SidecarChoice::Classic => SidecarMode::Classic,
        };
        Ok(Options {
            image: self.image.clone(),
            image_pull_policy: self.image_pull_policy,
            catalog: self.catalog.clone(),
            catalog_address: self.catalog_address,
            system_namespace: self.pod_namespace.clone(),
            native_sidecars: true,
            pod_security: self.pod_security.clone(),
            pod_defaults: self.defaults.pod_options(mode)?,
        })
    }
}

impl ValueEnum for ImagePullPolicy {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Always, Self::IfNotPresent, Self::Never]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(flags: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once(&"netting-webhook").chain(flags))
    }

    #[test]
    fn refuses_flags_that_are_wrong_and_says_which() {
        for (flags, says) in [
            (["--proxy-cpu-request=lots"].as_slice(), "is not a quantity"),
            (&["--proxy-memory-limit=64m"], "is less than 8Mi"),
            (&["--proxy-memory-limit=8388607"], "is less than 8Mi"),
            (&["--proxy-memory-request=64m"], "whole number of bytes"),
            (&["--proxy-telemetry=otlp=x"], "is no URL"),
            (&["--sidecar-mode=modern"], "auto, native, classic"),
            (&["--image-pull-policy=always"], "IfNotPresent"),
            (&["--proxy-log=loud"], "is not a log level"),
            (&["--pod-security-default=strict"], "baseline, restricted"),
            (&["--tls-cert=tls.crt"], "--tls-key"),
            (&["--tls-ca=ca.crt"], "--tls-cert"),
            (&["--shutdown-delay=soon"], "--shutdown-delay"),
            (&["--https-port=99999"], "99999"),
            (&["--trace-ratio=2"], "from 0 to 1"),
        ] {
            let refused = parse(flags).expect_err("the flag is wrong").to_string();
            assert!(refused.contains(says), "{refused}");
        }
        let flags = parse(&["--proxy-memory-limit=8Mi"]).expect("each flag for itself is right");
        let refused = flags.options().expect_err("the limit is below the request");
        assert!(
            refused.to_string().contains("--proxy-memory-limit"),
            "{refused}"
        );
    }

    #[test]
    fn help_is_as_documented() {
        let mut command = Args::command();
        command = command.mut_args(|arg| arg.hide_env_values(true));
        let help = command.term_width(100).render_long_help().to_string();
        netting_golden::assert_golden(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help.txt"),
            &help,
        );
    }
}
