//! One metric, and its series by their labels.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    Collect, LabelFilter, Moment, Room, Settings,
    series::{Becomes, Kept, Series},
};
use crate::{
    instrument::Instrument,
    labels,
    snapshot::{Descriptor, Labels, Metric},
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
        self.look_up(labels, Kept::WhileHeld)
            .unwrap_or_else(|| self.overflow())
    }

    /// The same for what comes and goes with traffic: the series is there while anything
    /// is recorded into it, whoever holds it. Nothing, if there is no room for it now.
    pub(crate) fn find(&self, labels: &Labels) -> Option<I> {
        self.look_up(labels, Kept::WhileUsed)
    }

    fn look_up(&self, labels: &Labels, kept: Kept) -> Option<I> {
        let inner = &*self.0;
        let labels = inner.filter.admitted(labels);
        let mut series = inner.series.lock();
        if let Some(known) = series.get_mut(&labels) {
            return Some(known.instrument_for(kept));
        }
        // One without labels is the only one of its metric: as many as there are metrics
        // have always room.
        let has_room = labels.is_empty() || inner.room.take();
        has_room.then(|| {
            let found = series.entry(labels);
            let found = found.or_insert_with(|| Series::new(&inner.shape, kept));
            found.instrument_for(kept)
        })
    }

    /// The only series, of a metric without labels.
    #[must_use]
    pub fn only(&self) -> I {
        self.with(&labels::none())
    }

    /// The one series of all that are too many.
    #[must_use]
    pub fn overflow(&self) -> I {
        self.0.overflow(&mut self.0.series.lock())
    }

    /// Where its series have to find room.
    pub(crate) fn room(&self) -> &Room {
        &self.0.room
    }
}

impl<I: Instrument> Inner<I> {
    fn overflow(&self, series: &mut HashMap<Labels, Series<I>>) -> I {
        let overflow = series.entry(Arc::clone(&OVERFLOW));
        let fresh = || Series::new(&self.shape, Kept::WhileHeld);
        overflow
            .or_insert_with(fresh)
            .instrument_for(Kept::WhileHeld)
    }

    /// Lets go of what is idle, and wakes what is not any more. What finds no room is
    /// added to the rest.
    fn settle(&self, series: &mut HashMap<Labels, Series<I>>, at: Moment) {
        let takes_room = |labels: &Labels| !labels.is_empty() && *labels != *OVERFLOW;
        let (mut gone, mut asleep, mut forgotten) = (0, 0, 0);
        let mut homeless = Vec::new();
        series.retain(|labels, series| {
            if !takes_room(labels) {
                return true;
            }
            let becomes = series.settle(self.idle_after, at);
            match becomes {
                Becomes::Gone => gone += 1,
                Becomes::Asleep => asleep += 1,
                Becomes::Forgotten => forgotten += 1,
                Becomes::Awake if self.room.wake() => series.wake(at),
                Becomes::Awake => homeless.push(series.instrument_for(Kept::WhileUsed)),
                Becomes::Same => {}
            }
            !matches!(becomes, Becomes::Gone | Becomes::Forgotten)
        });
        if gone > 0 {
            self.room.give_back(gone);
        }
        if asleep > 0 {
            self.room.lull(asleep);
        }
        if forgotten > 0 {
            self.room.forget(forgotten);
        }
        for instrument in homeless {
            instrument.move_to(&self.overflow(series));
        }
    }
}

impl<I: Instrument> Collect for Family<I> {
    fn collect(&self, at: Moment) -> Option<Metric> {
        let mut series = self.0.series.lock();
        self.0.settle(&mut series, at);
        let shown = series.iter().filter(|(_, series)| !series.is_asleep());
        let points: Vec<_> = shown.map(|(labels, series)| series.point(labels)).collect();
        (!points.is_empty()).then(|| Metric {
            descriptor: self.0.descriptor,
            data: I::data(points),
        })
    }
}
