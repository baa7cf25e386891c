//! One metric, and its series by their labels.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;

use super::{Collect, LabelFilter, Room, Settings};
use crate::{
    instrument::Instrument,
    labels,
    snapshot::{Descriptor, Labels, Metric, Point},
};

/// By the conventions, what marks the series of all that found no room.
/// <https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute>
static OVERFLOW: LazyLock<Labels> =
    LazyLock::new(|| labels::labels(&[("otel.metric.overflow", "true")]));

/// A metric's series. Cheap to clone.
#[derive(Debug)]
pub struct Family<I: Instrument>(Arc<Inner<I>>);

#[derive(Debug)]
struct Inner<I: Instrument> {
    descriptor: Descriptor,
    shape: I::Shape,
    room: Arc<Room>,
    filter: LabelFilter,
    idle_after: Duration,
    series: Mutex<HashMap<Labels, Series<I>>>,
}

#[derive(Debug)]
struct Series<I> {
    instrument: I,
    since: SystemTime,
    /// The instrument's mark, and since when it has been that.
    mark: u64,
    quiet_since: SystemTime,
}

impl<I: Instrument> Clone for Family<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Instrument> Family<I> {
    pub(super) fn new(
        descriptor: Descriptor,
        shape: I::Shape,
        room: Arc<Room>,
        settings: &Settings,
    ) -> Self {
        Self(Arc::new(Inner {
            descriptor,
            shape,
            room,
            filter: settings.labels.clone(),
            idle_after: settings.idle_after,
            series: Mutex::default(),
        }))
    }

    /// What to record into under these labels. It is there for as long as it is held;
    /// look it up once, not for each record.
    #[must_use]
    pub fn with(&self, labels: &Labels) -> I {
        let inner = &*self.0;
        let labels = inner.filter.admitted(labels);
        let mut series = inner.series.lock();
        if let Some(known) = series.get(&labels) {
            return known.instrument.clone();
        }
        // One without labels is the only one of its metric: as many as there are metrics
        // have always room.
        let has_room = labels.is_empty() || inner.room.take();
        let labels = if has_room {
            labels
        } else {
            Arc::clone(&OVERFLOW)
        };
        let found = series.entry(labels).or_insert_with(|| inner.begin());
        found.instrument.clone()
    }

    /// The only series, of a metric without labels.
    #[must_use]
    pub fn only(&self) -> I {
        self.with(&labels::none())
    }

    /// The one series of all that are too many.
    #[must_use]
    pub fn overflow(&self) -> I {
        let mut series = self.0.series.lock();
        let overflow = series.entry(Arc::clone(&OVERFLOW));
        overflow
            .or_insert_with(|| self.0.begin())
            .instrument
            .clone()
    }
}

impl<I: Instrument> Inner<I> {
    fn begin(&self) -> Series<I> {
        let instrument = I::new(&self.shape);
        let (now, mark) = (SystemTime::now(), instrument.mark());
        Series {
            instrument,
            since: now,
            mark,
            quiet_since: now,
        }
    }

    fn drop_idle(&self, series: &mut HashMap<Labels, Series<I>>, at: SystemTime) {
        let takes_room = |labels: &Labels| !labels.is_empty() && *labels != *OVERFLOW;
        let before = series.keys().filter(|labels| takes_room(labels)).count();
        series
            .retain(|labels, series| !(takes_room(labels) && series.is_idle(self.idle_after, at)));
        let after = series.keys().filter(|labels| takes_room(labels)).count();
        self.room.give_back(before - after);
    }
}

impl<I: Instrument> Series<I> {
    /// Whether it can be dropped: nobody holds it, and each snapshot of the last while
    /// had all that was recorded.
    fn is_idle(&mut self, idle_after: Duration, at: SystemTime) -> bool {
        // In this order: whatever its last holder recorded is in the mark.
        let is_held = self.instrument.holders() > 1;
        let mark = self.instrument.mark();
        if mark != self.mark {
            self.mark = mark;
            self.quiet_since = at;
            return false;
        }
        let quiet_for = at.duration_since(self.quiet_since).unwrap_or_default();
        !is_held && quiet_for >= idle_after
    }

    fn point(&self, labels: &Labels) -> Point<I::Value> {
        Point {
            labels: Arc::clone(labels),
            since: self.since,
            value: self.instrument.read(),
        }
    }
}

impl<I: Instrument> Collect for Family<I> {
    fn collect(&self, at: SystemTime) -> Option<Metric> {
        let mut series = self.0.series.lock();
        self.0.drop_idle(&mut series, at);
        let points: Vec<_> = series
            .iter()
            .map(|(labels, series)| series.point(labels))
            .collect();
        (!points.is_empty()).then(|| Metric {
            descriptor: self.0.descriptor,
            data: I::data(points),
        })
    }
}
