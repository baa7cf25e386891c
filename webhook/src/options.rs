//! How a pod is injected: the webhook's own configuration, and what the pod's
//! annotations change about it, parsed once into types that can't be wrong.

use std::{str::FromStr, time::Duration};

use crate::{
    names::{self, SidecarMode},
    pod::Pod,
    warnings::Warnings,
};

mod cidr;
mod log_filter;
mod ports;
mod quantity;
mod resources;
#[cfg(test)]
mod tests;

pub use cidr::{Cidr, NotACidr};
pub use log_filter::{LogFilter, NotALogFilter};
pub use ports::{NotAPort, PortRange};
pub use quantity::{NotAQuantity, Quantity};
pub use resources::{Budget, Given};

/// More items in one list than anybody means; bounds the init container's arguments.
const LIST_ITEMS_MAX: usize = 64;

/// Options of later versions: known, so that the warning doesn't call them typos.
const RESERVED: [&str; 4] = ["access-log", "mtls", "opaque-ports", "telemetry"];

/// What is the same for every pod, and the defaults of what is not.
#[derive(Clone, Debug)]
pub struct Options {
    /// The image of both containers.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`; `None` leaves it to the API server,
    /// which decides by the image's tag.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Where the sidecar finds the catalog, `host:port`.
    pub catalog: String,
    /// Where Netting's own pods run, which are never injected.
    pub system_namespace: String,
    /// What a pod gets that says nothing.
    pub pod_defaults: PodOptions,
}

/// When the kubelet pulls the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// If the node doesn't have it.
    IfNotPresent,
    /// Never; the node must have it.
    Never,
}

impl ImagePullPolicy {
    /// Kubernetes' name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

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
    /// Cores for the sidecar.
    pub cpu: Budget,
    /// Bytes for the sidecar.
    pub memory: Budget,
    /// What the sidecar logs.
    pub log: LogFilter,
    /// How the sidecar runs.
    pub mode: SidecarMode,
    /// How long the sidecar waits for open connections once it is told to stop;
    /// `None` follows the pod's termination grace period.
    pub drain_timeout: Option<Duration>,
}

impl PodOptions {
    /// These options with a pod's annotations laid over them. What is wrong is
    /// warned about, all of it, and leaves the value (of a list: the other items)
    /// as it was.
    #[must_use]
    pub fn overlay(mut self, pod: &Pod<'_>, warnings: &mut Warnings) -> Self {
        for (key, value) in pod.annotations() {
            let Some(option) = key.strip_prefix(names::DOMAIN) else {
                continue;
            };
            let given = Given { key, value };
            match option {
                "skip-inbound-ports" => set_list(&mut self.skip_inbound_ports, given, warnings),
                "skip-outbound-ports" => set_list(&mut self.skip_outbound_ports, given, warnings),
                "skip-inbound-cidrs" => set_list(&mut self.skip_inbound_cidrs, given, warnings),
                "skip-outbound-cidrs" => set_list(&mut self.skip_outbound_cidrs, given, warnings),
                "log-level" => set(&mut self.log, value.parse(), given, warnings),
                "sidecar-mode" => {
                    let mode = SidecarMode::from_name(value).ok_or("is not native or classic");
                    set(&mut self.mode, mode, given, warnings);
                }
                "drain-timeout" => {
                    let timeout = drain_timeout(value, pod).map(Some);
                    set(&mut self.drain_timeout, timeout, given, warnings);
                }
                // Looked at together below, since they must agree.
                "proxy-cpu-request" | "proxy-cpu-limit" => {}
                "proxy-memory-request" | "proxy-memory-limit" => {}
                // Not options; the decision looks at them.
                "inject" | "status" => {}
                reserved if RESERVED.contains(&reserved) => {
                    warnings.ignored_key(key, "is not supported by this version");
                }
                _ => warnings.ignored_key(key, "is not an option of Netting"),
            }
        }
        let given = |key| pod.annotation(key).map(|value| Given { key, value });
        self.cpu = self.cpu.overlay(
            given("netting.dev/proxy-cpu-request"),
            given("netting.dev/proxy-cpu-limit"),
            warnings,
        );
        self.memory = self.memory.overlay(
            given("netting.dev/proxy-memory-request"),
            given("netting.dev/proxy-memory-limit"),
            warnings,
        );
        self
    }
}

/// A drain that outlives the grace period would be cut off by SIGKILL instead.
fn drain_timeout(value: &str, pod: &Pod<'_>) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(value)
        .map_err(|_| "is not a duration such as 30s or 1m30s".to_owned())?;
    let grace = pod.termination_grace_seconds();
    if timeout > Duration::from_secs(grace) {
        return Err(format!("is over terminationGracePeriodSeconds ({grace})"));
    }
    Ok(timeout)
}

fn set<T, E: ToString>(
    option: &mut T,
    parsed: Result<T, E>,
    given: Given<'_>,
    warnings: &mut Warnings,
) {
    match parsed {
        Ok(value) => *option = value,
        Err(error) => warnings.ignored(given.key, given.value, &error.to_string()),
    }
}

/// Takes the valid items of a comma-separated list; nothing between commas is no
/// item. A list of which no item is valid changes nothing.
fn set_list<T>(option: &mut Vec<T>, given: Given<'_>, warnings: &mut Warnings)
where
    T: FromStr<Err: ToString>,
{
    let mut items = Vec::new();
    let texts = given.value.split(',').map(str::trim);
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    for text in &texts {
        match text.parse() {
            Ok(_) if items.len() == LIST_ITEMS_MAX => {
                let why = format!("is more than the {LIST_ITEMS_MAX} items a list may have");
                warnings.ignored(given.key, text, &why);
            }
            Ok(item) => items.push(item),
            Err(error) => warnings.ignored(given.key, text, &T::Err::to_string(&error)),
        }
    }
    if texts.is_empty() || !items.is_empty() {
        *option = items;
    }
}
