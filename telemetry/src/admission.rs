//! What the webhook answers to the API server.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of the answer time's buckets: from what a pod costs to the API
/// server's patience, which is 5 seconds for Netting's webhooks.
const ANSWER_SECONDS: [f64; 9] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.5, 5.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionAndReason {
    decision: &'static str,
    reason: &'static str,
}

/// The admission instruments of the webhook.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    admissions: Family<DecisionAndReason, Counter>,
    answer: Histogram,
}

impl AdmissionMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            admissions: Family::default(),
            answer: Histogram::new(ANSWER_SECONDS),
        };
        registry.register(
            "admissions",
            "Admission requests answered, by decision and why",
            metrics.admissions.clone(),
        );
        registry.register_with_unit(
            "admission_duration",
            "Time from a request's head to its answer",
            Unit::Seconds,
            metrics.answer.clone(),
        );
        metrics
    }

    /// A request was answered.
    pub fn answered(&self, decision: &'static str, reason: &'static str, took: Duration) {
        self.admissions
            .get_or_create(&DecisionAndReason { decision, reason })
            .inc();
        self.answer.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn counts_each_decision_and_reason_for_itself() {
        let metrics = Metrics::new("test", "0");
        let admissions = metrics.register(AdmissionMetrics::register);
        for _ in 0..2 {
            admissions.answered("skip", "host_network", Duration::from_millis(3));
        }
        let exposition = metrics.expose().expect("nothing here fails to write");
        for series in [
            r#"netting_admissions_total{decision="skip",reason="host_network"} 2"#,
            r#"netting_admission_duration_seconds_bucket{le="0.0025"} 0"#,
            r#"netting_admission_duration_seconds_bucket{le="0.005"} 2"#,
        ] {
            assert!(
                exposition.contains(series),
                "{series} is not in\n{exposition}"
            );
        }
    }
}
