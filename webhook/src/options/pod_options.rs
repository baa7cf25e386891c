//! What a pod, or its namespace for it, can choose.

use std::time::Duration;

use crate::{names::SidecarMode, pod::Pod, warnings::Warnings};

use super::{
    AccessLog, Budget, Cidr, Exporters, Given, LogFilter, Namespace, Options, PortRange, Source,
    annotations::pod_says,
    drain::{self, NotADrain},
    lists, reference,
    resources::Resource,
};

/// Options of later versions: known, so that the warning doesn't call them typos.
const RESERVED: [&str; 1] = ["mtls"];

/// What a pod can choose with annotations.
#[derive(Clone, Debug, PartialEq)]
pub struct PodOptions {
    /// Connections to these ports of the pod are not redirected.
    pub skip_inbound_ports: Vec<PortRange>,
    /// Connections from the pod to these ports are not redirected.
    pub skip_outbound_ports: Vec<PortRange>,
    /// Connections from these sources are not redirected.
    pub skip_inbound_cidrs: Vec<Cidr>,
    /// Connections to these destinations are not redirected.
    pub skip_outbound_cidrs: Vec<Cidr>,
    /// Connections to these ports, here and elsewhere, are passed on without a look
    /// at what they carry.
    pub opaque_ports: Vec<PortRange>,
    /// Cores for the sidecar.
    pub cpu: Budget,
    /// Bytes for the sidecar.
    pub memory: Budget,
    /// What the sidecar logs about itself.
    pub log: LogFilter,
    /// What the sidecar logs about connections.
    pub access_log: AccessLog,
    /// Where the sidecar's measurements go.
    pub telemetry: Exporters,
    /// How the sidecar runs.
    pub mode: SidecarMode,
    /// How long the sidecar waits for open connections once it is told to stop;
    /// `None` follows the pod's termination grace period.
    pub drain_timeout: Option<Duration>,
    /// Whether `httpGet` probes and hooks are asked by the sidecar too. (Those that
    /// would otherwise be the sidecar's to answer always are.)
    pub rewrite_http_probes: bool,
    /// Whether a pod that does not say if it is scraped gets annotations that have the
    /// sidecar scraped.
    pub scrape_annotations: bool,
    /// Whether the sidecar serves the application's metrics with its own, where a pod says
    /// at which port it is scraped.
    pub merge_metrics: bool,
}

impl PodOptions {
    /// What holds for a pod: its annotations over its namespace's over the
    /// defaults. All that is wrong with them is warned about, and leaves the value
    /// (of a list: the other items) as it was.
    #[must_use]
    pub fn choose(
        options: &Options,
        pod: &Pod<'_>,
        namespace: Namespace<'_>,
        warnings: &mut Warnings,
    ) -> Self {
        let mut chosen = options.pod_defaults.clone();
        // The default is for pods that have the time.
        chosen
            .drain_timeout
            .take_if(|timeout| !drain::fits(*timeout, pod));
        let mut layers = Layers {
            options,
            pod,
            chosen,
            warnings,
        };
        layers.lay_over(namespace.says());
        layers.lay_over(pod_says(pod));
        let mut chosen = layers.chosen;
        if !options.native_sidecars {
            chosen.mode = SidecarMode::Classic;
        }
        chosen
    }

    /// How long the sidecar of this pod waits for open connections.
    #[must_use]
    pub fn drain(&self, pod: &Pod<'_>) -> Duration {
        self.drain_timeout.unwrap_or_else(|| drain::longest(pod))
    }
}

/// Options in the making, and what their values are judged by.
struct Layers<'a> {
    options: &'a Options,
    pod: &'a Pod<'a>,
    chosen: PodOptions,
    warnings: &'a mut Warnings,
}

impl Layers<'_> {
    fn lay_over<'g>(&mut self, layer: impl Iterator<Item = Given<'g>>) {
        let layer: Vec<_> = layer.collect();
        for given in &layer {
            match given.option() {
                reserved if RESERVED.contains(&reserved) => {
                    let why = "is not supported by this version";
                    self.warnings.ignored_key(*given, why);
                }
                known if reference::knows(known) => self.set(*given),
                _ => {
                    let why = "is not an option of Netting";
                    self.warnings.ignored_key(*given, why);
                }
            }
        }
        let given = |option| layer.iter().find(|given| given.option() == option).copied();
        self.chosen.cpu.overlay(
            Resource::Cpu,
            given("proxy-cpu-request"),
            given("proxy-cpu-limit"),
            self.warnings,
        );
        self.chosen.memory.overlay(
            Resource::Memory,
            given("proxy-memory-request"),
            given("proxy-memory-limit"),
            self.warnings,
        );
    }

    fn set(&mut self, given: Given<'_>) {
        let Self {
            options,
            pod,
            chosen,
            warnings,
        } = self;
        match given.option() {
            "skip-inbound-ports" => {
                lists::set_ports(&mut chosen.skip_inbound_ports, given, pod, warnings);
            }
            "skip-outbound-ports" => {
                lists::set_ports(&mut chosen.skip_outbound_ports, given, pod, warnings);
            }
            "skip-inbound-cidrs" => lists::set(&mut chosen.skip_inbound_cidrs, given, warnings),
            "skip-outbound-cidrs" => lists::set(&mut chosen.skip_outbound_cidrs, given, warnings),
            "opaque-ports" => lists::set_ports(&mut chosen.opaque_ports, given, pod, warnings),
            "log-level" => set(&mut chosen.log, given.value.parse(), given, warnings),
            "access-log" => set(&mut chosen.access_log, given.value.parse(), given, warnings),
            "telemetry" if lists::is_empty(given) => {
                warnings.ignored(given, "names no exporter");
            }
            "telemetry" => {
                let (exporters, wrong) = Exporters::read(given.value);
                for wrong in wrong {
                    warnings.ignored(given.item(&wrong.item), &wrong.why);
                }
                let others = || chosen.telemetry.clone().instead_of(given.value);
                chosen.telemetry = exporters.unwrap_or_else(others);
            }
            "sidecar-mode" => {
                let mode = sidecar_mode(given.value, options.native_sidecars);
                set(&mut chosen.mode, mode, given, warnings);
            }
            "drain-timeout" => set_drain(chosen, given, pod, warnings),
            "rewrite-http-probes" => {
                let rewrite = given.value.parse().map_err(|_| "is not true or false");
                set(&mut chosen.rewrite_http_probes, rewrite, given, warnings);
            }
            "scrape-annotations" => {
                let add = given.value.parse().map_err(|_| "is not true or false");
                set(&mut chosen.scrape_annotations, add, given, warnings);
            }
            "merge-metrics" => {
                let merge = given.value.parse().map_err(|_| "is not true or false");
                set(&mut chosen.merge_metrics, merge, given, warnings);
            }
            // Looked at together, since they must agree.
            "proxy-cpu-request" | "proxy-cpu-limit" => {}
            "proxy-memory-request" | "proxy-memory-limit" => {}
            // Not options; the decision looks at them.
            "inject" if given.source != Source::Pod => {
                warnings.ignored_key(given, "is a label on namespaces, not an annotation");
            }
            _ => {}
        }
    }
}

fn sidecar_mode(name: &str, native_sidecars: bool) -> Result<SidecarMode, &'static str> {
    match SidecarMode::from_name(name) {
        Some(SidecarMode::Native) if !native_sidecars => Err("needs Kubernetes 1.29 or later"),
        Some(mode) => Ok(mode),
        None => Err("is not native or classic"),
    }
}

fn set_drain(chosen: &mut PodOptions, given: Given<'_>, pod: &Pod<'_>, warnings: &mut Warnings) {
    match drain::parse(given.value, pod) {
        Ok(timeout) => chosen.drain_timeout = Some(timeout),
        Err(NotADrain::Unreadable) => {
            warnings.ignored(given, "is not a duration such as 30s or 1m30s");
        }
        Err(NotADrain::TooLong { grace_seconds }) => {
            let why = format!("is not less than terminationGracePeriodSeconds ({grace_seconds})");
            let used = drain::written(chosen.drain(pod));
            warnings.instead(given, &why, &used);
        }
    }
}

fn set<T, E: ToString>(
    option: &mut T,
    parsed: Result<T, E>,
    given: Given<'_>,
    warnings: &mut Warnings,
) {
    match parsed {
        Ok(value) => *option = value,
        Err(error) => warnings.ignored(given, &error.to_string()),
    }
}
