use std::time::Duration;

use super::*;
use crate::export::sample;

/// The sample, so many seconds later.
fn later(seconds: u64) -> Snapshot {
    let mut snapshot = sample::snapshot();
    snapshot.at += Duration::from_secs(seconds);
    snapshot
}

fn counters(snapshot: &Snapshot) -> Vec<(SystemTime, u64)> {
    let points = snapshot
        .metrics
        .iter()
        .filter_map(|metric| match &metric.data {
            Data::Counter(points) => Some(points),
            _ => None,
        });
    points
        .flatten()
        .map(|point| (point.since, point.value))
        .collect()
}

fn histogram(snapshot: &mut Snapshot) -> &mut Vec<Point<Distribution>> {
    let mut data = snapshot.metrics.iter_mut().map(|metric| &mut metric.data);
    let points = data.find_map(|data| match data {
        Data::Histogram(points) => Some(points),
        _ => None,
    });
    points.expect("the sample has a histogram")
}

fn count(snapshot: &mut Snapshot, value: u64) {
    for metric in &mut snapshot.metrics {
        if let Data::Counter(points) = &mut metric.data {
            points[0].value = value;
        }
    }
}

#[test]
fn each_count_is_told_once_with_the_time_that_it_is_of() {
    let mut changes = Changes::new(Temporality::Delta);
    let first = later(0);
    let began = sample::at(1_700_000_000);
    assert_eq!(counters(&changes.of(&first)), [(began, 41)]);
    assert_eq!(counters(&changes.of(&later(10))), [], "nothing came");
    let mut third = later(20);
    count(&mut third, 50);
    let since = later(10).at;
    assert_eq!(counters(&changes.of(&third)), [(since, 9)]);
}

#[test]
fn a_series_that_began_anew_is_told_from_its_beginning() {
    let mut changes = Changes::new(Temporality::Delta);
    changes.of(&later(0));
    let mut anew = later(10);
    let since = later(5).at;
    for metric in &mut anew.metrics {
        if let Data::Counter(points) = &mut metric.data {
            points[0].since = since;
        }
    }
    assert_eq!(counters(&changes.of(&anew)), [(since, 41)]);
    let mut gone = later(20);
    gone.metrics.clear();
    changes.of(&gone);
    assert!(changes.counts.is_empty() && changes.distributions.is_empty());
}

#[test]
fn of_a_histogram_all_that_counts_is_what_came_since() {
    let mut changes = Changes::new(Temporality::Delta);
    let mut first = changes.of(&later(0));
    assert_eq!(histogram(&mut first)[0].value.exemplars.len(), 1);
    let mut second = later(10);
    let value = &mut histogram(&mut second)[0].value;
    value.counts = vec![3, 5, 1];
    value.sum = 0.066;
    value.exponential = Some(Exponential {
        scale: 1,
        zeros: 1,
        offset: -18,
        counts: vec![1, 0, 3, 4, 1, 0],
    });
    let mut second = changes.of(&second);
    let point = histogram(&mut second).remove(0);
    assert_eq!(point.since, later(0).at);
    assert_eq!(point.value.counts, [0, 2, 0]);
    assert!(
        (point.value.sum - 0.016).abs() < 1e-9,
        "{}",
        point.value.sum
    );
    assert_eq!(point.value.exemplars, [], "that one was of the time before");
    let exponential = point.value.exponential.expect("it is kept");
    assert_eq!(exponential.zeros, 1);
    assert_eq!(
        (exponential.offset, exponential.counts),
        (-18, vec![1, 0, 0, 1, 0, 0])
    );
    let mut third = changes.of(&later(20));
    assert_eq!(
        histogram(&mut third).len(),
        0,
        "less than before is nothing"
    );
}

#[test]
fn low_memory_leaves_what_is_asked_for_cumulative() {
    for (temporality, expected) in [
        (Temporality::Delta, vec![]),
        (Temporality::LowMemory, vec![41]),
        (Temporality::Cumulative, vec![41]),
    ] {
        let mut asked = later(0);
        asked
            .metrics
            .retain(|metric| matches!(metric.data, Data::Counter(_)));
        asked.metrics[0].descriptor.name = ASKED_FOR[0];
        let mut changes = Changes::new(temporality);
        changes.of(&asked);
        let again = counters(&changes.of(&asked));
        let again: Vec<_> = again.into_iter().map(|(_, value)| value).collect();
        assert_eq!(again, expected, "{temporality:?}");
    }
}

#[test]
fn what_goes_up_and_down_is_as_it_is() {
    let mut changes = Changes::new(Temporality::Delta);
    for seconds in [0, 10] {
        let changed = changes.of(&later(seconds));
        let Data::Gauge(points) = &changed.metrics[0].data else {
            panic!("the sample begins with a gauge");
        };
        assert_eq!(
            (points.len(), points[0].since),
            (1, sample::at(1_700_000_000))
        );
    }
}
