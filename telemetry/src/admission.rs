//! What the webhook answers to the API server, what it serves with, and the Events
//! that it writes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of the answer time's buckets: from what a pod costs to the API
/// server's patience, which is 5 seconds for Netting's webhooks.
const ANSWER_SECONDS: [f64; 9] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.5, 5.0,
];

/// Upper bounds of the patch time's buckets. It is computed without waiting for
/// anything, so that it is far below the answer time.
const PATCH_SECONDS: [f64; 8] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.1,
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
    patch: Histogram,
}

impl AdmissionMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            admissions: Family::default(),
            answer: Histogram::new(ANSWER_SECONDS),
            patch: Histogram::new(PATCH_SECONDS),
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
        registry.register_with_unit(
            "admission_patch_duration",
            "Time that deciding about a pod and computing its patch takes",
            Unit::Seconds,
            metrics.patch.clone(),
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

    /// A pod was decided about, and its patch computed if it gets one.
    pub fn decided(&self, took: Duration) {
        self.patch.observe(took.as_secs_f64());
    }
}

/// The instruments of the certificate that the webhook serves with.
#[derive(Clone, Debug)]
pub struct CertificateMetrics {
    expiry: Gauge,
    changes: Counter,
}

impl CertificateMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            expiry: Gauge::default(),
            changes: Counter::default(),
        };
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the serving certificate expires, in Unix time; 0 before there is one",
            Unit::Seconds,
            metrics.expiry.clone(),
        );
        registry.register(
            "certificate_changes",
            "Serving certificates put to use so far, the first one included",
            metrics.changes.clone(),
        );
        metrics
    }

    /// A certificate was put to use.
    pub fn serves_until(&self, expiry: SystemTime) {
        let since_epoch = expiry.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
        self.expiry.set(seconds);
        self.changes.inc();
    }
}

/// The instruments of the Events that the webhook writes.
#[derive(Clone, Debug)]
pub struct EventMetrics {
    written: Counter,
    dropped: Counter,
}

impl EventMetrics {
    /// Adds the instruments to a registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            written: Counter::default(),
            dropped: Counter::default(),
        };
        registry.register(
            "events_written",
            "Kubernetes Events created or counted up",
            metrics.written.clone(),
        );
        registry.register(
            "events_dropped",
            "Kubernetes Events not written: too many at once, or refused by the API server",
            metrics.dropped.clone(),
        );
        metrics
    }

    /// An Event was created or counted up.
    pub fn wrote(&self) {
        self.written.inc();
    }

    /// What should have become an Event did not.
    pub fn dropped(&self) {
        self.dropped.inc();
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
            admissions.decided(Duration::from_micros(70));
        }
        let exposition = metrics.expose().expect("nothing here fails to write");
        for series in [
            r#"netting_admissions_total{decision="skip",reason="host_network"} 2"#,
            r#"netting_admission_duration_seconds_bucket{le="0.0025"} 0"#,
            r#"netting_admission_duration_seconds_bucket{le="0.005"} 2"#,
            r#"netting_admission_patch_duration_seconds_bucket{le="0.00005"} 0"#,
            r#"netting_admission_patch_duration_seconds_bucket{le="0.0001"} 2"#,
        ] {
            assert!(
                exposition.contains(series),
                "{series} is not in\n{exposition}"
            );
        }
    }

    #[test]
    fn says_when_the_certificate_expires_in_unix_time() {
        let metrics = Metrics::new("test", "0");
        let certificate = metrics.register(CertificateMetrics::register);
        let exposition = metrics.expose().expect("nothing here fails to write");
        assert!(exposition.contains("netting_certificate_expiry_timestamp_seconds 0\n"));
        certificate.serves_until(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let exposition = metrics.expose().expect("nothing here fails to write");
        for series in [
            "netting_certificate_expiry_timestamp_seconds 1800000000\n",
            "netting_certificate_changes_total 1\n",
        ] {
            assert!(exposition.contains(series), "{series}: {exposition}");
        }
    }
}
