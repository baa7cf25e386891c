//! What the webhook answers to the API server, what it serves with, and the Events
//! that it writes.

use std::time::{Duration, SystemTime};

use crate::{
    Metrics,
    instrument::{Counter, Gauge, Histogram, Unit},
    labels::labels,
    process,
    registry::Family,
    snapshot::Descriptor,
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

const ADMISSIONS: Descriptor = Descriptor {
    name: "netting.admissions",
    unit: "{request}",
    description: "Admission requests answered, by decision and why",
};
const ANSWER: Descriptor = Descriptor {
    name: "netting.admission.duration",
    unit: "s",
    description: "Time from the head of a request to its answer",
};
const PATCH: Descriptor = Descriptor {
    name: "netting.admission.patch.duration",
    unit: "s",
    description: "Time that deciding about a pod and computing its patch takes",
};
const EXPIRY: Descriptor = Descriptor {
    name: "netting.certificate.expiry.timestamp",
    unit: "s",
    description: "When the serving certificate expires, in Unix time; 0 before there is one",
};
const CHANGES: Descriptor = Descriptor {
    name: "netting.certificate.changes",
    unit: "{certificate}",
    description: "Serving certificates put to use so far, the first one included",
};
const REFUSED: Descriptor = Descriptor {
    name: "netting.certificate.refused",
    unit: "{certificate}",
    description: "1 while a given certificate is not served, since the API server would not accept it; 0 otherwise",
};
const WRITTEN: Descriptor = Descriptor {
    name: "netting.events.written",
    unit: "{event}",
    description: "Kubernetes Events created or counted up",
};
const DROPPED: Descriptor = Descriptor {
    name: "netting.events.dropped",
    unit: "{event}",
    description: "Kubernetes Events not written: too many at once, or refused by the API server",
};

/// The admission instruments of the webhook.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    admissions: Family<Counter>,
    answer: Histogram,
    patch: Histogram,
}

impl AdmissionMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let seconds = |descriptor, bounds: &[f64]| {
            let family = metrics.histograms(descriptor, Unit::Seconds, bounds);
            family.only()
        };
        Self {
            admissions: metrics.counters(ADMISSIONS),
            answer: seconds(ANSWER, &ANSWER_SECONDS),
            patch: seconds(PATCH, &PATCH_SECONDS),
        }
    }

    /// A request was answered.
    pub fn answered(&self, decision: &'static str, reason: &'static str, took: Duration) {
        let labels = labels(&[("decision", decision), ("reason", reason)]);
        self.admissions.with(&labels).inc();
        self.answer.took(took);
    }

    /// A pod was decided about, and its patch computed if it gets one.
    pub fn decided(&self, took: Duration) {
        self.patch.took(took);
    }
}

/// The instruments of the certificate that the webhook serves with.
#[derive(Clone, Debug)]
pub struct CertificateMetrics {
    expiry: Gauge,
    changes: Counter,
    refused: Gauge,
}

impl CertificateMetrics {
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            expiry: metrics.gauges(EXPIRY).only(),
            changes: metrics.counters(CHANGES).only(),
            refused: metrics.gauges(REFUSED).only(),
        }
    }

    /// Whether a certificate was given that can't be put to use.
    pub fn refuses(&self, given: bool) {
        self.refused.set(i64::from(given));
    }

    /// A certificate was put to use.
    pub fn serves_until(&self, expiry: SystemTime) {
        self.expiry.set(process::unix_seconds(expiry));
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
    /// Adds the instruments to those of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            written: metrics.counters(WRITTEN).only(),
            dropped: metrics.counters(DROPPED).only(),
        }
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
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::Metrics;

    #[test]
    fn counts_each_decision_and_reason_for_itself() {
        let metrics = Metrics::new("test", "0");
        let admissions = AdmissionMetrics::register(&metrics);
        for _ in 0..2 {
            admissions.answered("skip", "host_network", Duration::from_millis(3));
            admissions.decided(Duration::from_micros(70));
        }
        let exposition = metrics.expose();
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
        let certificate = CertificateMetrics::register(&metrics);
        let exposition = metrics.expose();
        assert!(exposition.contains("netting_certificate_expiry_timestamp_seconds 0\n"));
        assert!(exposition.contains("netting_certificate_refused 0\n"));
        certificate.refuses(true);
        certificate.serves_until(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let exposition = metrics.expose();
        for series in [
            "netting_certificate_expiry_timestamp_seconds 1800000000\n",
            "netting_certificate_changes_total 1\n",
            "netting_certificate_refused 1\n",
        ] {
            assert!(exposition.contains(series), "{series}: {exposition}");
        }
    }
}
