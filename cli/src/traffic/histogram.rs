//! Durations, as Prometheus counts them.

/// Durations in seconds, in buckets: each bucket holds all that took at
/// most its bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Bounds in ascending order, each with its count.
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        for (bound, count) in &other.buckets {
            self.add(*bound, *count);
        }
    }

    /// Adds to the bucket of this upper bound (seconds).
    pub fn add(&mut self, bound: f64, count: f64) {
        let at = self.buckets.partition_point(|(own, _)| *own < bound);
        match self.buckets.get_mut(at) {
            Some((own, counted)) if *own <= bound => *counted += count,
            _ => self.buckets.insert(at, (bound, count)),
        }
    }

    /// What was added to an earlier state of it.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let of_before = |bound: f64| {
            let bucket = before
                .buckets
                .iter()
                .find(|(own, _)| own.total_cmp(&bound).is_eq());
            bucket.map_or(0.0, |(_, count)| *count)
        };
        let buckets = self.buckets.iter();
        let buckets = buckets.map(|(bound, count)| (*bound, count - of_before(*bound)));
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
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(
            histogram(&[(0.1, 0.0), (f64::INFINITY, 0.0)]).quantile(0.5),
            None
        );
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
    fn histograms_are_merged_and_subtracted_bucket_by_bucket() {
        let one = histogram(&[(0.1, 4.0), (0.2, 10.0)]);
        let mut sum = one.clone();
        sum.merge(&one);
        assert_eq!(sum, histogram(&[(0.1, 8.0), (0.2, 20.0)]));
        assert_eq!(sum.since(&one), one);
    }
}
