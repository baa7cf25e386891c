//! What an exporter says about itself, in metrics of its own.

use std::sync::Arc;

use parking_lot::Mutex;

use super::reason::Reason;
use crate::{
    Metrics,
    config::Signal,
    instrument::Counter,
    labels,
    registry::Family,
    snapshot::{Descriptor, Labels},
};

const SENT: Descriptor = Descriptor {
    name: "netting.telemetry.sent",
    unit: "{item}",
    description: "Data points, spans and lines that a backend took, or that went off in datagrams",
};
const FAILED: Descriptor = Descriptor {
    name: "netting.telemetry.failed",
    unit: "{attempt}",
    description: "Attempts to send that failed, some of which are made again",
};
const DROPPED: Descriptor = Descriptor {
    name: "netting.telemetry.dropped",
    unit: "{item}",
    description: "Data points, spans and lines that did not arrive and will not",
};

/// Counters of one exporter and signal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Counts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    labels: Labels,
    sent: Counter,
    failed: Family<Counter>,
    dropped: Family<Counter>,
    last_failure: Mutex<Option<String>>,
}

impl Counts {
    /// Those of an exporter by its name.
    #[must_use]
    pub fn new(metrics: &Metrics, exporter: &str, signal: Signal) -> Self {
        let pairs = [
            ("netting.exporter", exporter),
            ("netting.signal", signal.as_str()),
        ];
        let labels = labels::labels(&pairs);
        Self(Arc::new(Inner {
            sent: metrics.counters(SENT).with(&labels),
            failed: metrics.counters(FAILED),
            dropped: metrics.counters(DROPPED),
            labels,
            last_failure: Mutex::default(),
        }))
    }

    /// A backend took so many items.
    pub fn sent(&self, items: u64) {
        self.0.sent.inc_by(items);
    }

    /// An attempt failed.
    pub fn failed(&self, reason: Reason, message: &str) {
        self.0.failed.with(&self.because(reason)).inc();
        *self.0.last_failure.lock() = Some(message.to_owned());
    }

    /// Counts what is lost; also called with none, which is most often so.
    pub fn dropped(&self, items: u64, reason: Reason) {
        if items > 0 {
            self.losing(reason).inc_by(items);
        }
    }

    /// What counts items that are lost for this reason, for who may lose many.
    pub(crate) fn losing(&self, reason: Reason) -> Counter {
        self.0.dropped.with(&self.because(reason))
    }

    /// How many items the backend took so far.
    #[must_use]
    pub fn items_sent(&self) -> u64 {
        self.0.sent.get()
    }

    /// What went wrong last.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        self.0.last_failure.lock().clone()
    }

    fn because(&self, reason: Reason) -> Labels {
        labels::with(&self.0.labels, &[("error.type", reason.as_str())])
    }
}
