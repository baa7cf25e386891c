//! A snapshot with what came since the last one: delta temporality
//! (<https://opentelemetry.io/docs/specs/otel/metrics/data-model/#temporality>).

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use crate::{
    config::Temporality,
    snapshot::{Data, Distribution, Exponential, Labels, Metric, Point, Snapshot},
};

/// Counters whose value is asked for when it is looked at: asynchronous ones, by the
/// specification, which `lowmemory` leaves cumulative.
const ASKED_FOR: [&str; 1] = ["netting.telemetry.overflowed"];

type Points<T> = HashMap<(&'static str, Labels), Point<T>>;

/// What the last snapshot said.
#[derive(Debug)]
pub(crate) struct Changes {
    temporality: Temporality,
    at: SystemTime,
    counts: Points<u64>,
    distributions: Points<Distribution>,
}

impl Temporality {
    /// Whether it is what came since the last time that is sent of this counter or histogram.
    pub(crate) fn is_delta(self, name: &str) -> bool {
        match self {
            Self::Cumulative => false,
            Self::Delta => true,
            Self::LowMemory => !ASKED_FOR.contains(&name),
        }
    }
}

impl Changes {
    pub(crate) fn new(temporality: Temporality) -> Self {
        Self {
            temporality,
            at: SystemTime::UNIX_EPOCH,
            counts: HashMap::new(),
            distributions: HashMap::new(),
        }
    }

    /// What has changed of counters and histograms, each since the last snapshot or since
    /// it began; everything else as it is.
    pub(crate) fn of(&mut self, snapshot: &Snapshot) -> Snapshot {
        // Made anew, so that series that are gone are forgotten.
        let mut next = Self::new(self.temporality);
        next.at = snapshot.at;
        let metrics = snapshot.metrics.iter();
        let metrics = metrics.map(|metric| Metric {
            descriptor: metric.descriptor,
            data: self.data(metric, &mut next),
        });
        let changed = Snapshot {
            resource: Labels::clone(&snapshot.resource),
            at: snapshot.at,
            metrics: metrics.collect(),
        };
        *self = next;
        changed
    }

    fn data(&self, metric: &Metric, next: &mut Self) -> Data {
        let name = metric.descriptor.name;
        match &metric.data {
            data if !self.temporality.is_delta(name) => data.clone(),
            Data::Gauge(points) => Data::Gauge(points.clone()),
            Data::Counter(points) => {
                let before = (&self.counts, self.at);
                Data::Counter(changed(
                    name,
                    points,
                    before,
                    &mut next.counts,
                    |now, before| {
                        let delta = now - before.map_or(0, |before| *before.min(now));
                        (delta > 0).then_some(delta)
                    },
                ))
            }
            Data::Histogram(points) => {
                let before = (&self.distributions, self.at);
                let mut changed =
                    changed(name, points, before, &mut next.distributions, distribution);
                for point in &mut changed {
                    let since = point.since;
                    point
                        .value
                        .exemplars
                        .retain(|exemplar| exemplar.at >= since);
                }
                Data::Histogram(changed)
            }
        }
    }
}

/// The points that `subtract` finds something in. A series that began anew has no past.
fn changed<T: Clone>(
    name: &'static str,
    points: &[Point<T>],
    (before, at): (&Points<T>, SystemTime),
    next: &mut Points<T>,
    subtract: impl Fn(&T, Option<&T>) -> Option<T>,
) -> Vec<Point<T>> {
    let change = |point: &Point<T>| {
        let key = (name, Labels::clone(&point.labels));
        let before = before
            .get(&key)
            .filter(|before| before.since == point.since);
        next.insert(key, point.clone());
        Some(Point {
            labels: Labels::clone(&point.labels),
            since: before.map_or(point.since, |_| at),
            value: subtract(&point.value, before.map(|before| &before.value))?,
        })
    };
    points.iter().filter_map(change).collect()
}

fn distribution(now: &Distribution, before: Option<&Distribution>) -> Option<Distribution> {
    let Some(before) = before else {
        return (now.count() > 0).then(|| now.clone());
    };
    let counts: Vec<_> = less(&now.counts, &before.counts).collect();
    let none = Exponential::default();
    let earlier = before.exponential.as_ref().unwrap_or(&none);
    counts.iter().any(|count| *count > 0).then(|| Distribution {
        bounds: Arc::clone(&now.bounds),
        counts,
        sum: (now.sum - before.sum).max(0.0),
        exponential: now
            .exponential
            .as_ref()
            .map(|now| exponential(now, earlier)),
        exemplars: now.exemplars.clone(),
    })
}

/// All of the buckets there were are among those there are.
fn exponential(now: &Exponential, before: &Exponential) -> Exponential {
    let skipped = usize::try_from(before.offset - now.offset).unwrap_or(0);
    let earlier: Vec<_> = std::iter::repeat_n(0, skipped)
        .chain(before.counts.iter().copied())
        .collect();
    Exponential {
        scale: now.scale,
        zeros: now.zeros.saturating_sub(before.zeros),
        offset: now.offset,
        counts: less(&now.counts, &earlier).collect(),
    }
}

fn less(now: &[u64], before: &[u64]) -> impl Iterator<Item = u64> {
    let before = before.iter().copied().chain(std::iter::repeat(0));
    now.iter()
        .zip(before)
        .map(|(now, before)| now.saturating_sub(before))
}

#[cfg(test)]
mod tests;
