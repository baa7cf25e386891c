//! Values that came from sampled traces, one for each bucket.

use std::time::SystemTime;

use parking_lot::Mutex;

use crate::snapshot::Exemplar;

/// Where in a sampled trace something was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span in it.
    pub span: [u8; 8],
}

#[derive(Debug)]
pub(super) struct Exemplars(Box<[Mutex<Option<Exemplar>>]>);

impl Exemplars {
    pub(super) fn new(buckets: usize) -> Self {
        Self((0..buckets).map(|_| Mutex::default()).collect())
    }

    /// Any one will do: where another thread is at it, that one's is kept.
    pub(super) fn keep(&self, bucket: usize, value: f64, context: TraceContext) {
        if let Some(mut kept) = self.0[bucket].try_lock() {
            *kept = Some(Exemplar {
                value,
                at: SystemTime::now(),
                trace: context.trace,
                span: context.span,
            });
        }
    }

    pub(super) fn clear(&self) {
        for kept in &self.0 {
            *kept.lock() = None;
        }
    }

    pub(super) fn read(&self) -> Vec<Exemplar> {
        self.0
            .iter()
            .filter_map(|kept| kept.lock().clone())
            .collect()
    }
}
