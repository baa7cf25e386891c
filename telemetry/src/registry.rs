//! All series of a process: looked up under a lock, recorded into without one.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

use parking_lot::Mutex;

use crate::{
    instrument::Instrument,
    snapshot::{Descriptor, Labels, Metric, Snapshot},
};

mod asked;
mod family;
mod moment;
mod room;
mod series;
mod settings;

pub use asked::Value;
pub use family::Family;
pub use settings::{LabelFilter, OPTIONAL_LABELS, Settings, bounds};

use asked::Asked;
pub(crate) use moment::Moment;
pub(crate) use room::Room;

const SERIES: Descriptor = Descriptor {
    name: "netting.telemetry.series",
    unit: "{series}",
    description: "Series that are kept",
};
const OVERFLOWED: Descriptor = Descriptor {
    name: "netting.telemetry.overflowed",
    unit: "{series}",
    description: "Series that found no room, so that what belongs to them is counted under otel.metric.overflow",
};

/// The metrics of a process.
pub(crate) struct Registry {
    resource: Labels,
    since: SystemTime,
    pub(crate) settings: Settings,
    room: Arc<Room>,
    /// Whether histograms keep exponential buckets too.
    pub(crate) exponential: Arc<AtomicBool>,
    metrics: Mutex<BTreeMap<&'static str, Arc<dyn Collect>>>,
}

/// A metric, whatever its instrument.
trait Collect: Any + Send + Sync {
    /// Its series; nothing, if there are none.
    fn collect(&self, at: Moment) -> Option<Metric>;
}

impl Registry {
    pub(crate) fn new(resource: Labels, settings: Settings) -> Self {
        let room = Arc::new(Room::new(settings.series_max));
        let registry = Self {
            resource,
            since: SystemTime::now(),
            settings,
            room: Arc::clone(&room),
            exponential: Arc::default(),
            metrics: Mutex::default(),
        };
        let overflowed = Arc::clone(&room);
        registry.ask(OVERFLOWED, Labels::default(), move || {
            Some(Value::Counter(overflowed.overflowed()))
        });
        registry.ask(SERIES, Labels::default(), move || {
            Some(Value::gauge(room.taken()))
        });
        registry
    }

    /// What the process is.
    pub(crate) fn resource(&self) -> Labels {
        Arc::clone(&self.resource)
    }

    /// The metric of this name, which is made if it is not there. A name stands for
    /// one instrument in all of the program.
    pub(crate) fn family<I: Instrument>(
        &self,
        descriptor: Descriptor,
        shape: impl FnOnce() -> I::Shape,
    ) -> Family<I> {
        let mut metrics = self.metrics.lock();
        let metric = metrics.entry(descriptor.name).or_insert_with(|| {
            let room = Arc::clone(&self.room);
            Arc::new(Family::<I>::new(descriptor, shape(), room, &self.settings))
        });
        let metric: &dyn Any = &**metric;
        let family: Option<&Family<I>> = metric.downcast_ref();
        family.expect("a name stands for one instrument").clone()
    }

    /// A metric with one series, whose value is asked for by each snapshot.
    pub(crate) fn ask(
        &self,
        descriptor: Descriptor,
        labels: Labels,
        value: impl Fn() -> Option<Value> + Send + Sync + 'static,
    ) {
        let asked = Asked {
            descriptor,
            labels,
            since: self.since,
            value,
        };
        self.metrics.lock().insert(descriptor.name, Arc::new(asked));
    }

    /// What all of them say. Drops series that have not changed for long: the snapshots
    /// since then had all of them.
    pub(crate) fn snapshot(&self, at: Moment) -> Snapshot {
        let metrics: Vec<_> = self.metrics.lock().values().map(Arc::clone).collect();
        Snapshot {
            resource: Arc::clone(&self.resource),
            at: at.wall,
            metrics: metrics
                .iter()
                .filter_map(|metric| metric.collect(at))
                .collect(),
        }
    }

    pub(crate) fn keep_exponential(&self) {
        self.exponential.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests;
