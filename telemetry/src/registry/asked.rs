//! Metrics that cost nothing but when they are looked at.

use std::{sync::Arc, time::SystemTime};

use super::{Collect, Moment};
use crate::snapshot::{Data, Descriptor, Labels, Metric, Point};

/// What a metric says when it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// It only grows.
    Counter(u64),
    /// It goes up and down.
    Gauge(f64),
}

pub(super) struct Asked<F> {
    pub(super) descriptor: Descriptor,
    pub(super) labels: Labels,
    pub(super) since: SystemTime,
    pub(super) value: F,
}

impl Value {
    /// A count that goes up and down.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        reason = "what is counted here is below 2^53"
    )]
    pub fn gauge(count: usize) -> Self {
        Value::Gauge(count as f64)
    }
}

impl<F: Fn() -> Option<Value> + Send + Sync + 'static> Collect for Asked<F> {
    fn collect(&self, _: Moment) -> Option<Metric> {
        let data = match (self.value)()? {
            Value::Counter(value) => Data::Counter(vec![self.point(value)]),
            Value::Gauge(value) => Data::Gauge(vec![self.point(value)]),
        };
        Some(Metric {
            descriptor: self.descriptor,
            data,
        })
    }
}

impl<F> Asked<F> {
    fn point<T>(&self, value: T) -> Point<T> {
        Point {
            labels: Arc::clone(&self.labels),
            since: self.since,
            value,
        }
    }
}
