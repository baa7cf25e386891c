//! What a team may want otherwise.

use std::{sync::Arc, time::Duration};

use crate::snapshot::Labels;

/// Labels that are of use to some and cost everybody: left out unless they are allowed.
pub const OPTIONAL_LABELS: [&str; 1] = ["rpc.method"];

/// How metrics are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many series there may be. What belongs to others is counted, for each
    /// metric, in one series with the label `otel.metric.overflow`.
    pub series_max: usize,
    /// After how long a series is dropped that nobody records into any more. Longer
    /// than the time between any exporter's snapshots, which
    /// [`Telemetry::settings`](crate::config::Telemetry::settings) sees to.
    pub idle_after: Duration,
    /// Which labels series have.
    pub labels: LabelFilter,
    /// Upper bounds for durations of requests, in seconds, instead of those of the
    /// OpenTelemetry conventions.
    pub duration_bounds: Option<Arc<[f64]>>,
    /// The same for sizes of bodies, in bytes.
    pub size_bounds: Option<Arc<[f64]>>,
}

/// Which labels series have: all but the optional ones, and but those that are denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelFilter {
    /// Optional labels that are wanted.
    pub allow: Vec<String>,
    /// Labels that are not. Series that they alone told apart become one.
    pub deny: Vec<String>,
}

/// Upper bounds of buckets: rising numbers that are not negative.
#[must_use]
pub fn bounds<'t>(parts: impl Iterator<Item = &'t str>) -> Option<Arc<[f64]>> {
    let parsed: Result<Vec<f64>, _> = parts.map(|bound| bound.trim().parse()).collect();
    let is_bound = |bound: &f64| bound.is_finite() && *bound >= 0.0;
    let bounds = parsed.ok()?;
    let rise = bounds.iter().all(is_bound) && bounds.is_sorted_by(|a, b| a < b);
    rise.then(|| bounds.into())
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            series_max: 2_000,
            idle_after: Duration::from_secs(15 * 60),
            labels: LabelFilter::default(),
            duration_bounds: None,
            size_bounds: None,
        }
    }
}

impl LabelFilter {
    /// Whether series have this label.
    #[must_use]
    pub fn admits(&self, key: &str) -> bool {
        let is_optional = OPTIONAL_LABELS.contains(&key);
        let names = |list: &[String]| list.iter().any(|name| name == key);
        !names(&self.deny) && (!is_optional || names(&self.allow))
    }

    /// Those of the labels that series have.
    pub(super) fn admitted(&self, labels: &Labels) -> Labels {
        if labels.iter().all(|label| self.admits(label.key)) {
            return Arc::clone(labels);
        }
        let admitted = labels.iter().filter(|label| self.admits(label.key));
        admitted.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::labels;

    #[test]
    fn leaves_out_what_is_denied_and_what_is_optional_unless_it_is_allowed() {
        let filter = |allow: &[&str], deny: &[&str]| LabelFilter {
            allow: allow.iter().map(ToString::to_string).collect(),
            deny: deny.iter().map(ToString::to_string).collect(),
        };
        let all = labels(&[("reason", "a"), ("rpc.method", "b"), ("server.port", "80")]);
        let keys = |filter: LabelFilter| -> Vec<_> {
            filter.admitted(&all).iter().map(|it| it.key).collect()
        };
        assert_eq!(keys(filter(&[], &[])), ["reason", "server.port"]);
        assert_eq!(
            keys(filter(&["rpc.method"], &[])),
            ["reason", "rpc.method", "server.port"]
        );
        assert_eq!(
            keys(filter(&["rpc.method"], &["rpc.method", "reason"])),
            ["server.port"]
        );
    }
}
