//! How a Service says that its traffic is to be spread and treated.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;

use super::{Policy, Reason, Refusal};

/// What Kubernetes takes for a Service that doesn't say.
const AFFINITY_SECONDS: i32 = 10_800;
/// What Kubernetes allows.
const AFFINITY_SECONDS_MAX: i32 = 86_400;

/// How the traffic to a Service is spread and treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Which endpoints are preferred, where they carry no hints.
    pub distribution: Distribution,
    /// For how long a client stays at one endpoint after it last went there; 0 for
    /// no affinity.
    pub session_affinity_seconds: u32,
    /// What its annotations say.
    pub policy: Policy,
}

/// Which endpoints a Service prefers (`trafficDistribution`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// None.
    #[default]
    Any,
    /// Those in the client's zone.
    PreferSameZone,
    /// Those on the client's node, else those in its zone.
    PreferSameNode,
}

impl Traffic {
    pub(super) fn parse(
        annotations: Option<&BTreeMap<String, String>>,
        spec: &api::ServiceSpec,
        refused: &mut Vec<Refusal>,
    ) -> Self {
        let none = BTreeMap::new();
        Self {
            distribution: match spec.traffic_distribution.as_deref() {
                Some("PreferClose" | "PreferSameZone") => Distribution::PreferSameZone,
                Some("PreferSameNode") => Distribution::PreferSameNode,
                _ => Distribution::Any,
            },
            session_affinity_seconds: session_affinity(spec, refused),
            policy: Policy::parse(annotations.unwrap_or(&none), refused),
        }
    }
}

fn session_affinity(spec: &api::ServiceSpec, refused: &mut Vec<Refusal>) -> u32 {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return 0;
    }
    let config = spec.session_affinity_config.as_ref();
    let client_ip = config.and_then(|config| config.client_ip.as_ref());
    let seconds = client_ip.and_then(|client_ip| client_ip.timeout_seconds);
    let seconds = seconds.unwrap_or(AFFINITY_SECONDS);
    match u32::try_from(seconds) {
        Ok(good) if (1..=AFFINITY_SECONDS_MAX).contains(&seconds) => good,
        _ => {
            refused.push(Reason::BadAffinity.of(seconds));
            AFFINITY_SECONDS.unsigned_abs()
        }
    }
}
