//! How metrics are kept, as flags.

use std::{sync::Arc, time::Duration};

use clap::Args;
use netting_telemetry::registry::{self, LabelFilter, Settings};

/// How metrics are kept.
#[derive(Args, Clone, Debug)]
pub struct MetricsArgs {
    /// How many series there may be, of all metrics together. What belongs to others
    /// is counted, for each metric, under otel_metric_overflow="true".
    #[arg(long, env = "NETTING_METRICS_SERIES_MAX", default_value_t = 2000)]
    pub metrics_series_max: usize,

    /// After how long a series is dropped that nothing is counted in any more. Longer
    /// than the time between two scrapes or exports.
    #[arg(long, env = "NETTING_METRICS_IDLE", default_value = "15m", value_parser = humantime::parse_duration)]
    pub metrics_idle: Duration,

    /// Labels that series have beyond the usual ones, a comma list: rpc.method.
    #[arg(long, env = "NETTING_METRICS_LABELS_ALLOW", value_delimiter = ',')]
    pub metrics_labels_allow: Vec<String>,

    /// Labels that series do not have, a comma list such as
    /// network.protocol.version,server.address.
    #[arg(long, env = "NETTING_METRICS_LABELS_DENY", value_delimiter = ',')]
    pub metrics_labels_deny: Vec<String>,

    /// Upper bounds of the buckets for durations of requests, in seconds, rising: a
    /// comma list such as 0.01,0.1,1. Those of OpenTelemetry's conventions if not given.
    #[arg(long, env = "NETTING_METRICS_DURATION_BUCKETS", value_parser = bounds)]
    pub metrics_duration_buckets: Option<Bounds>,

    /// The same for sizes of bodies, in bytes.
    #[arg(long, env = "NETTING_METRICS_SIZE_BUCKETS", value_parser = bounds)]
    pub metrics_size_buckets: Option<Bounds>,
}

/// Upper bounds of buckets. Cheap to clone.
pub type Bounds = Arc<[f64]>;

impl MetricsArgs {
    /// The same as settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let named = |list: &[String]| {
            let names = list.iter().map(|name| name.trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        };
        Settings {
            series_max: self.metrics_series_max,
            idle_after: self.metrics_idle,
            labels: LabelFilter {
                allow: named(&self.metrics_labels_allow),
                deny: named(&self.metrics_labels_deny),
            },
            duration_bounds: self.metrics_duration_buckets.clone(),
            size_bounds: self.metrics_size_buckets.clone(),
        }
    }
}

fn bounds(text: &str) -> Result<Bounds, String> {
    let bounds = registry::bounds(text.split(','));
    bounds
        .ok_or_else(|| "write rising numbers that are not negative, such as 0.01,0.1,1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_are_numbers() {
        for text in ["", "x", "1,,2", "1,1", "2,1", "-1,1", "1,inf", "NaN"] {
            assert!(bounds(text).is_err(), "{text}");
        }
        assert_eq!(*bounds("0, 0.01,10").expect("they rise"), [0.0, 0.01, 10.0]);
    }
}
