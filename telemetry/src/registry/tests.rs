use std::{
    ops::{Add, AddAssign},
    time::Duration,
};

use super::*;
use crate::{
    instrument::{Buckets, Counter, Gauge, Histogram, TraceContext, Unit},
    labels::{labels, value},
    snapshot::Data,
};

const THINGS: Descriptor = Descriptor {
    name: "things",
    unit: "{thing}",
    description: "Things seen",
};
const IDLE_AFTER: Duration = Duration::from_secs(60);

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self {
            wall: self.wall + later,
            steady: self.steady + later,
        }
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, later: Duration) {
        *self = *self + later;
    }
}

fn registry(series_max: usize) -> Registry {
    let settings = Settings {
        series_max,
        idle_after: IDLE_AFTER,
        ..Settings::default()
    };
    Registry::new(Labels::default(), settings)
}

/// What a snapshot says of things, by their colour.
fn things(registry: &Registry, at: Moment) -> Vec<(String, u64)> {
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
    let mut metrics = registry.snapshot(Moment::now()).metrics;
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
    let counted = things(&registry, Moment::now());
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
    assert_eq!(things(&registry, Moment::now()), expected);
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
    assert_eq!(things(&registry, Moment::now()), [(String::new(), 1)]);
}

#[test]
fn a_series_that_is_held_stays_and_one_that_is_not_makes_room() {
    let registry = registry(2);
    let family = registry.family::<Counter>(THINGS, || ());
    let held = family.with(&labels(&[("colour", "red")]));
    family.with(&labels(&[("colour", "green")])).inc();
    let begun = Moment::now();
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
    let begun = Moment::now();
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
fn a_clock_that_is_set_makes_no_series_idle_and_keeps_none() {
    let registry = registry(1);
    let family = registry.family::<Counter>(THINGS, || ());
    family.with(&labels(&[("colour", "red")])).inc();
    let begun = Moment::now();
    let red = [("colour=red".to_owned(), 1)];
    assert_eq!(things(&registry, begun), red);
    let forward = Moment {
        wall: begun.wall + IDLE_AFTER * 3,
        ..begun
    };
    assert_eq!(things(&registry, forward), red);
    let back = Moment {
        wall: begun.wall - IDLE_AFTER * 3,
        ..begun + IDLE_AFTER
    };
    assert_eq!(things(&registry, back), []);
}

#[test]
fn a_series_of_traffic_goes_though_it_is_held_and_begins_anew() {
    let registry = registry(1);
    let family = registry.family::<Counter>(THINGS, || ());
    let red = family.find(&labels(&[("colour", "red")]));
    let red = red.expect("there is room");
    red.inc_by(3);
    let begun = Moment::now();
    let shown = |count| vec![("colour=red".to_owned(), count)];
    assert_eq!(things(&registry, begun), shown(3), "it was never exported");
    let later = begun + IDLE_AFTER;
    assert_eq!(things(&registry, begun + IDLE_AFTER / 2), shown(3));
    assert_eq!(things(&registry, later), []);
    assert_eq!(registry.room.taken(), 0);
    red.inc();
    let snapshot = registry.snapshot(later + IDLE_AFTER);
    let metric = snapshot.metrics.iter().find(|it| it.descriptor == THINGS);
    let Some(Data::Counter(points)) = metric.map(|metric| &metric.data) else {
        panic!("{metric:?}");
    };
    assert_eq!((points[0].value, points[0].since), (1, later.wall));
    assert_eq!(registry.room.taken(), 1);
    drop(red);
    assert_eq!(things(&registry, later + IDLE_AFTER * 2), []);
    assert_eq!(registry.room.taken(), 0);
}

#[test]
fn a_series_that_is_used_again_and_finds_no_room_is_counted_with_the_others() {
    let registry = registry(1);
    let family = registry.family::<Counter>(THINGS, || ());
    let find = |colour| family.find(&labels(&[("colour", colour)]));
    let red = find("red").expect("there is room");
    let mut at = Moment::now();
    things(&registry, at);
    at += IDLE_AFTER;
    assert_eq!(things(&registry, at), []);
    let blue = find("blue").expect("red has made room");
    blue.inc();
    red.inc_by(2);
    let both = |red| {
        let overflow = ("otel.metric.overflow=true".to_owned(), red);
        vec![("colour=blue".to_owned(), 1), overflow]
    };
    assert_eq!(things(&registry, at), both(2));
    red.inc_by(5);
    assert_eq!(things(&registry, at), both(7));
    assert!(find("green").is_none(), "one that sleeps makes room once");
    drop(blue);
    at += IDLE_AFTER;
    things(&registry, at);
    red.inc();
    let woken = ("colour=red".to_owned(), 1);
    let overflow = ("otel.metric.overflow=true".to_owned(), 7);
    assert_eq!(things(&registry, at), [woken, overflow]);
}

#[test]
fn what_sleeps_has_room_for_itself_but_not_without_end() {
    let registry = registry(1);
    let family = registry.family::<Counter>(THINGS, || ());
    let mut at = Moment::now();
    let mut held = Vec::new();
    let overflow = labels(&[("colour", "overflow")]);
    for colour in ["red", "green", "blue"] {
        held.extend(family.find(&labels(&[("colour", colour)])));
        things(&registry, at);
        at += IDLE_AFTER * 2;
        assert_eq!(things(&registry, at), []);
    }
    assert_eq!(held.len(), 2, "one more than there is room for");
    assert!(family.find(&overflow).is_none());
    let generation = registry.room.generation();
    held.clear();
    things(&registry, at);
    assert_ne!(registry.room.generation(), generation);
    assert!(family.find(&overflow).is_some());
}

#[test]
fn a_gauge_of_traffic_stays_while_it_says_anything() {
    let registry = registry(9);
    let family = registry.family::<Gauge>(THINGS, || ());
    let gauge = family.find(&labels(&[("colour", "red")]));
    let gauge = gauge.expect("there is room");
    let mut at = Moment::now();
    let mut shows = |value: Option<f64>| {
        at += IDLE_AFTER;
        let snapshot = registry.snapshot(at);
        let shown = snapshot.metrics.iter().find(|it| it.descriptor == THINGS);
        let shown = shown.map(|metric| match &metric.data {
            Data::Gauge(points) => points[0].value,
            other => panic!("{other:?}"),
        });
        assert_eq!(shown, value);
    };
    let one = gauge.one_more();
    shows(Some(1.0));
    shows(Some(1.0));
    drop(one);
    shows(Some(0.0));
    shows(None);
    let one = gauge.one_more();
    shows(Some(1.0));
    drop(one);
}

#[test]
fn a_distribution_begins_anew_as_a_whole() {
    let registry = registry(1);
    let wanted = Arc::new(AtomicBool::new(true));
    let shape = || Arc::new(Buckets::new(Unit::Whole, &[8.0], wanted));
    let family = registry.family::<Histogram>(THINGS, shape);
    let find = |colour| family.find(&labels(&[("colour", colour)]));
    let red = find("red").expect("there is room");
    let trace = TraceContext {
        trace: [1; 16],
        span: [1; 8],
    };
    let shown = |at| {
        let snapshot = registry.snapshot(at);
        let metric = snapshot.metrics.iter().find(|it| it.descriptor == THINGS);
        match metric.map(|metric| metric.data.clone()) {
            Some(Data::Histogram(points)) => points,
            _ => Vec::new(),
        }
    };
    red.record_in(9, Some(trace));
    red.record(3);
    let mut at = Moment::now();
    assert_eq!(shown(at)[0].value.exemplars.len(), 1);
    at += IDLE_AFTER;
    assert!(shown(at).is_empty());
    red.record(4);
    let [anew] = &shown(at)[..] else {
        panic!("it was recorded into");
    };
    assert_eq!(
        (anew.value.counts.as_slice(), anew.value.sum),
        (&[1, 0][..], 4.0)
    );
    assert!(anew.value.exemplars.is_empty());
    let exponential = anew.value.exponential.as_ref().expect("it is asked for");
    assert_eq!(exponential.counts.iter().sum::<u64>(), 1);
    at += IDLE_AFTER;
    assert!(shown(at).is_empty());
    let _blue = find("blue").expect("red has made room");
    red.record(5);
    let points = shown(at);
    let overflow = points.iter().find(|point| point.value.count() > 0);
    let overflow = &overflow.expect("it is counted with the others").value;
    let exponential = overflow.exponential.as_ref().expect("it is asked for");
    assert_eq!(
        (overflow.sum, exponential.counts.as_slice()),
        (5.0, &[1][..])
    );
}

/// What a series has come to since it began, by when that was, is what was counted.
#[test]
fn nothing_is_lost_between_sleep_and_use() {
    let registry = Registry::new(
        Labels::default(),
        Settings {
            idle_after: Duration::ZERO,
            ..Settings::default()
        },
    );
    let family = registry.family::<Counter>(THINGS, || ());
    let red = family.find(&labels(&[("colour", "red")]));
    let red = red.expect("there is room");
    let mut came_to: BTreeMap<SystemTime, u64> = BTreeMap::new();
    let mut look = || {
        let snapshot = registry.snapshot(Moment::now());
        let metric = snapshot.metrics.iter().find(|it| it.descriptor == THINGS);
        if let Some(Data::Counter(points)) = metric.map(|metric| &metric.data) {
            came_to.insert(points[0].since, points[0].value);
        }
        came_to.values().sum::<u64>()
    };
    std::thread::scope(|scope| {
        let counts = || (0..200_000).for_each(|_| red.inc());
        let others = [scope.spawn(counts), scope.spawn(counts)];
        while others.iter().any(|other| !other.is_finished()) {
            look();
        }
    });
    look();
    assert_eq!(look(), 400_000);
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
                        registry.snapshot(Moment::now());
                    }
                }
            });
        }
    });
    let counted = things(&registry, Moment::now());
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), 4000);
}
