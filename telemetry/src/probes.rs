//! The application's probes, where the kubelet asks the sidecar and the sidecar the
//! application.

use crate::{Metrics, instrument::Counter, labels::labels, registry::Family, snapshot::Descriptor};

const ASKED: Descriptor = Descriptor {
    name: "netting.probes",
    unit: "{probe}",
    description: "Probes and hooks that the application was asked, by what came of them",
};

/// The probe instruments of a sidecar.
#[derive(Clone, Debug)]
pub struct ProbeMetrics {
    asked: Family<Counter>,
}

impl ProbeMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            asked: metrics.counters(ASKED),
        }
    }

    /// The application was asked. That is a matter of seconds, so each time the series is
    /// looked up.
    pub fn asked(&self, probe: &'static str, outcome: &'static str) {
        let labels = labels(&[("probe", probe), ("outcome", outcome)]);
        self.asked.with(&labels).inc();
    }
}
