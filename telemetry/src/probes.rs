//! The application's probes, where the kubelet asks the sidecar and the sidecar the
//! application.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeAndOutcome {
    probe: &'static str,
    outcome: &'static str,
}

/// The probe instruments of a sidecar.
#[derive(Clone, Debug)]
pub struct ProbeMetrics {
    asked: Family<ProbeAndOutcome, Counter>,
}

impl ProbeMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let asked = Family::default();
        registry.register(
            "probes",
            "Probes and hooks that the application was asked, by what came of them",
            Family::clone(&asked),
        );
        Self { asked }
    }

    /// The application was asked.
    pub fn asked(&self, probe: &'static str, outcome: &'static str) {
        self.asked
            .get_or_create(&ProbeAndOutcome { probe, outcome })
            .inc();
    }
}
