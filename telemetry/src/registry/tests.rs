use std::time::Duration;

use super::*;
use crate::{
    instrument::{Counter, Gauge},
    labels::{labels, value},
    snapshot::Data,
};

const THINGS: Descriptor = Descriptor {
    name: "things",
    unit: "{thing}",
    description: "Things seen",
};
const IDLE_AFTER: Duration = Duration::from_secs(60);

fn registry(series_max: usize) -> Registry {
    let settings = Settings {
        series_max,
        idle_after: IDLE_AFTER,
        ..Settings::default()
    };
    Registry::new(Labels::default(), settings)
}

/// What a snapshot says of things, by their colour.
fn things(registry: &Registry, at: SystemTime) -> Vec<(String, u64)> {
    let snapshot = registry.snapshot(at);
    let metric = snapshot.metrics.iter().find(|it| it.descriptor == THINGS);
    let Some(Data::Counter(points)) = metric.map(|metric| &metric.data) else {
        return Vec::new();
    };
    let name = |labels: &Labels| {
        let of = |key| value(labels, key).map(|value| format!("{key}={value}"));
        of("colour").or_else(|| of("otel.metric.overflow"))
    };
    let mut things: Vec<_> = points
        .iter()
        .map(|point| (name(&point.labels).unwrap_or_default(), point.value))
        .collect();
    things.sort();
    things
}

fn asked(registry: &Registry, name: &str) -> Option<Data> {
    let mut metrics = registry.snapshot(SystemTime::now()).metrics;
    metrics.retain(|metric| metric.descriptor.name == name);
    metrics.pop().map(|metric| metric.data)
}

#[test]
fn a_series_is_the_same_whoever_looks_it_up() {
    let registry = registry(10);
    for _ in 0..2 {
        let family = registry.family::<Counter>(THINGS, || ());
        family.with(&labels(&[("colour", "red")])).inc();
    }
    let counted = things(&registry, SystemTime::now());
    assert_eq!(counted, [("colour=red".to_owned(), 2)]);
}

#[test]
fn what_finds_no_room_is_counted_together_and_nothing_is_lost() {
    let registry = registry(2);
    let family = registry.family::<Counter>(THINGS, || ());
    for (colour, count) in [
        ("red", 1),
        ("green", 2),
        ("blue", 4),
        ("grey", 8),
        ("red", 16),
    ] {
        family.with(&labels(&[("colour", colour)])).inc_by(count);
    }
    let expected = [
        ("colour=green", 2),
        ("colour=red", 17),
        ("otel.metric.overflow=true", 12),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(things(&registry, SystemTime::now()), expected);
    let overflowed = asked(&registry, OVERFLOWED.name);
    assert!(
        matches!(&overflowed, Some(Data::Counter(points)) if points[0].value == 2),
        "{overflowed:?}"
    );
}

#[test]
fn a_metric_without_labels_always_has_room() {
    let registry = registry(0);
    registry.family::<Counter>(THINGS, || ()).only().inc();
    assert_eq!(things(&registry, SystemTime::now()), [(String::new(), 1)]);
}

#[test]
fn a_series_that_is_held_stays_and_one_that_is_not_makes_room() {
    let registry = registry(2);
    let family = registry.family::<Counter>(THINGS, || ());
    let held = family.with(&labels(&[("colour", "red")]));
    family.with(&labels(&[("colour", "green")])).inc();
    let begun = SystemTime::now();
    let both = [("colour=green".to_owned(), 1), ("colour=red".to_owned(), 0)];
    assert_eq!(things(&registry, begun), both, "it was never exported");
    let later = begun + IDLE_AFTER + Duration::from_secs(1);
    assert_eq!(things(&registry, later), [("colour=red".to_owned(), 0)]);
    family.with(&labels(&[("colour", "blue")])).inc();
    held.inc();
    let expected = [("colour=blue".to_owned(), 1), ("colour=red".to_owned(), 1)];
    assert_eq!(things(&registry, later), expected);
}

#[test]
fn what_was_recorded_last_is_exported_before_its_series_goes() {
    let registry = registry(2);
    let family = registry.family::<Counter>(THINGS, || ());
    let red = labels(&[("colour", "red")]);
    family.with(&red).inc();
    let begun = SystemTime::now();
    things(&registry, begun);
    // Nobody looked for long, and then it changed.
    let much_later = begun + IDLE_AFTER * 3;
    family.with(&red).inc();
    let seen = [("colour=red".to_owned(), 2)];
    assert_eq!(things(&registry, much_later), seen);
    assert_eq!(things(&registry, much_later + IDLE_AFTER / 2), seen);
    assert_eq!(things(&registry, much_later + IDLE_AFTER), []);
    family.with(&red).inc();
    let anew = [("colour=red".to_owned(), 1)];
    assert_eq!(things(&registry, much_later + IDLE_AFTER), anew);
}

#[test]
fn tells_how_many_series_there_are() {
    let registry = registry(10);
    let family = registry.family::<Gauge>(THINGS, || ());
    let held = ["red", "green"].map(|colour| family.with(&labels(&[("colour", colour)])));
    let series = asked(&registry, SERIES.name);
    assert!(
        matches!(&series, Some(Data::Gauge(points)) if points[0].value == 2.0),
        "{series:?} {held:?}"
    );
}

#[test]
fn many_threads_lose_nothing() {
    let registry = Arc::new(registry(4));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                let family = registry.family::<Counter>(THINGS, || ());
                for round in 0..1000 {
                    let colour = ["red", "green", "blue"][(thread + round) % 3];
                    family.with(&labels(&[("colour", colour)])).inc();
                    if round % 100 == 0 {
                        registry.snapshot(SystemTime::now());
                    }
                }
            });
        }
    });
    let counted = things(&registry, SystemTime::now());
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), 4000);
}
