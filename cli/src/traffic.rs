//! Counters of sidecars, and what two looks at them come to.

use std::{collections::BTreeMap, time::Duration};

/// What one sidecar, or several together, have counted so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// To the application.
    pub inbound: Requests,
    /// From the application.
    pub outbound: Requests,
    /// Those of them whose service or pod is known, by that.
    pub peers: BTreeMap<Peer, Requests>,
    /// To the application, open now.
    pub connections_open: f64,
    /// To the application, so far.
    pub connections: f64,
}

/// A service or pod that an application talks to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The port that the application uses.
    pub port: u16,
}

/// Requests in one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requests {
    /// All that ended.
    pub ended: f64,
    /// Those with a status of 5xx, or none.
    pub failed: f64,
    /// How long they took.
    pub durations: Histogram,
}

/// Durations in seconds, as Prometheus counts them: each bucket holds all that took at
/// most its bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Bounds in ascending order, each with its count.
    buckets: Vec<(f64, f64)>,
}

impl Counts {
    /// What was counted since an earlier look. A counter that is lower than before has
    /// begun anew.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            inbound: self.inbound.since(&before.inbound),
            outbound: self.outbound.since(&before.outbound),
            peers: self.peers_since(before),
            connections_open: self.connections_open,
            connections: grown(self.connections, before.connections),
        }
    }

    fn peers_since(&self, before: &Self) -> BTreeMap<Peer, Requests> {
        let none = Requests::default();
        let since = self.peers.iter().map(|(peer, requests)| {
            let before = before.peers.get(peer).unwrap_or(&none);
            (peer.clone(), requests.since(before))
        });
        since.collect()
    }

    /// Adds those of another sidecar.
    pub fn add(&mut self, other: &Self) {
        self.inbound.add(&other.inbound);
        self.outbound.add(&other.outbound);
        for (peer, requests) in &other.peers {
            self.peers.entry(peer.clone()).or_default().add(requests);
        }
        self.connections_open += other.connections_open;
        self.connections += other.connections;
    }
}

impl Requests {
    fn since(&self, before: &Self) -> Self {
        if self.ended < before.ended {
            return self.clone();
        }
        Self {
            ended: self.ended - before.ended,
            failed: grown(self.failed, before.failed),
            durations: self.durations.since(&before.durations),
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.failed += other.failed;
        for (bound, count) in &other.durations.buckets {
            self.durations.add(*bound, *count);
        }
    }

    /// How many ended in a second.
    #[must_use]
    pub fn per_second(&self, window: Duration) -> f64 {
        self.ended / window.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The share that did not fail, from 0 to 1; `None` without requests.
    #[must_use]
    pub fn success(&self) -> Option<f64> {
        (self.ended > 0.0).then(|| 1.0 - (self.failed / self.ended).min(1.0))
    }
}

impl Histogram {
    /// Adds to the bucket of this upper bound (seconds).
    pub fn add(&mut self, bound: f64, count: f64) {
        let at = self.buckets.partition_point(|(own, _)| *own < bound);
        match self.buckets.get_mut(at) {
            Some((own, counted)) if *own <= bound => *counted += count,
            _ => self.buckets.insert(at, (bound, count)),
        }
    }

    fn since(&self, before: &Self) -> Self {
        let of_before = |bound: f64| {
            let bucket = before
                .buckets
                .iter()
                .find(|(own, _)| own.total_cmp(&bound).is_eq());
            bucket.map_or(0.0, |(_, count)| *count)
        };
        let buckets = self.buckets.iter();
        let buckets = buckets.map(|(bound, count)| (*bound, grown(*count, of_before(*bound))));
        Self {
            buckets: buckets.collect(),
        }
    }

    /// What this share (0.99) of them took at most, in seconds, as `histogram_quantile`
    /// estimates it: within a bucket they are thought to be spread evenly. `None`
    /// without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.buckets.last().map(|(_, count)| *count)?;
        if total <= 0.0 {
            return None;
        }
        let rank = total * share;
        let at = self.buckets.iter().position(|(_, count)| *count >= rank)?;
        let (below, counted) = match at.checked_sub(1) {
            Some(before) => self.buckets[before],
            None => (0.0, 0.0),
        };
        let (bound, count) = self.buckets[at];
        if bound.is_infinite() {
            return Some(below);
        }
        let within = (rank - counted) / (count - counted).max(f64::MIN_POSITIVE);
        Some(below + (bound - below) * within.clamp(0.0, 1.0))
    }
}

fn grown(now: f64, before: f64) -> f64 {
    if now < before { now } else { now - before }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(f64, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (bound, count) in buckets {
            histogram.add(*bound, *count);
        }
        histogram
    }

    fn close(one: Option<f64>, other: f64) -> bool {
        one.is_some_and(|one| (one - other).abs() < 1e-9)
    }

    #[test]
    fn nothing_has_no_quantile_and_no_success() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(
            histogram(&[(0.1, 0.0), (f64::INFINITY, 0.0)]).quantile(0.5),
            None
        );
        assert_eq!(Requests::default().success(), None);
    }

    #[test]
    fn a_quantile_is_estimated_within_its_bucket() {
        let some = histogram(&[(f64::INFINITY, 100.0), (0.1, 50.0), (0.2, 90.0)]);
        assert!(close(some.quantile(0.5), 0.1));
        assert!(close(some.quantile(0.7), 0.15));
        assert!(close(some.quantile(0.25), 0.05));
        // Beyond the last bound nothing is known but that.
        assert!(close(some.quantile(0.99), 0.2));
    }

    #[test]
    fn a_counter_that_began_anew_is_not_subtracted_from() {
        let requests = |ended, failed| Requests {
            ended,
            failed,
            durations: histogram(&[(0.1, ended)]),
        };
        let counts = |ended, failed| Counts {
            inbound: requests(ended, failed),
            ..Counts::default()
        };
        let grown = counts(150.0, 20.0).since(&counts(100.0, 10.0));
        assert_eq!(grown.inbound, requests(50.0, 10.0));
        let anew = counts(5.0, 1.0).since(&counts(100.0, 10.0));
        assert_eq!(anew.inbound, requests(5.0, 1.0));
        assert!(close(anew.inbound.success(), 0.8));
        assert!(close(
            Some(grown.inbound.per_second(Duration::from_secs(10))),
            5.0
        ));
    }

    #[test]
    fn counts_of_several_sidecars_are_summed_bucket_by_bucket() {
        let one = Counts {
            inbound: Requests {
                ended: 10.0,
                failed: 1.0,
                durations: histogram(&[(0.1, 4.0), (0.2, 10.0)]),
            },
            connections_open: 2.0,
            ..Counts::default()
        };
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!(sum.inbound.durations, histogram(&[(0.1, 8.0), (0.2, 20.0)]));
        assert!(close(Some(sum.connections_open), 4.0));
    }
}
