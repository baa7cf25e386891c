//! What came since the last time: for protocols that add up themselves.

use std::{collections::HashMap, time::SystemTime};

use crate::snapshot::{Distribution, Labels, Point};

/// What was sent of each series so far.
#[derive(Debug, Default)]
pub(crate) struct Deltas {
    sent: HashMap<(&'static str, Labels), Sent>,
    round: u64,
}

#[derive(Debug)]
struct Sent {
    since: SystemTime,
    round: u64,
    counts: Vec<u64>,
}

impl Deltas {
    /// Of a counter.
    pub(crate) fn counter(&mut self, name: &'static str, point: &Point<u64>) -> u64 {
        let sent = self.of(name, &point.labels, point.since);
        let before = sent.counts.pop().unwrap_or_default();
        sent.counts.push(point.value);
        point.value.saturating_sub(before)
    }

    /// Of a histogram's buckets.
    pub(crate) fn histogram(
        &mut self,
        name: &'static str,
        point: &Point<Distribution>,
    ) -> Vec<u64> {
        let sent = self.of(name, &point.labels, point.since);
        let before = std::mem::replace(&mut sent.counts, point.value.counts.clone());
        let before = before.into_iter().chain(std::iter::repeat(0));
        let counts = point.value.counts.iter().zip(before);
        counts
            .map(|(now, before)| now.saturating_sub(before))
            .collect()
    }

    /// Forgets series that were not there in this round, and begins the next.
    pub(crate) fn finish_round(&mut self) {
        let round = self.round;
        self.sent.retain(|_, sent| sent.round == round);
        self.round += 1;
    }

    fn of(&mut self, name: &'static str, labels: &Labels, since: SystemTime) -> &mut Sent {
        let sent = self.sent.entry((name, Labels::clone(labels)));
        let fresh = || Sent {
            since,
            round: 0,
            counts: Vec::new(),
        };
        let sent = sent.or_insert_with(fresh);
        if sent.since != since {
            // It was dropped, and counts from zero again.
            *sent = fresh();
        }
        sent.round = self.round;
        sent
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    fn counter(value: u64, since: u64) -> Point<u64> {
        Point {
            labels: Arc::from([]),
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(since),
            value,
        }
    }

    #[test]
    fn each_count_is_sent_once() {
        let mut deltas = Deltas::default();
        let mut delta = |value, since| deltas.counter("a", &counter(value, since));
        assert_eq!(delta(3, 0), 3);
        assert_eq!(delta(3, 0), 0);
        assert_eq!(delta(10, 0), 7);
        assert_eq!(delta(4, 1), 4, "a series that began anew");
    }

    #[test]
    fn series_that_went_away_are_forgotten() {
        let mut deltas = Deltas::default();
        deltas.counter("a", &counter(3, 0));
        deltas.finish_round();
        assert_eq!(deltas.sent.len(), 1);
        deltas.finish_round();
        assert_eq!(deltas.sent.len(), 0);
    }

    #[test]
    fn buckets_are_apart() {
        let mut deltas = Deltas::default();
        let mut delta = |counts: &[u64]| {
            let point = Point {
                labels: Arc::from([]),
                since: SystemTime::UNIX_EPOCH,
                value: Distribution {
                    counts: counts.to_vec(),
                    ..Distribution::default()
                },
            };
            deltas.histogram("a", &point)
        };
        assert_eq!(delta(&[1, 2, 3]), [1, 2, 3]);
        assert_eq!(delta(&[1, 5, 3]), [0, 3, 0]);
    }
}
