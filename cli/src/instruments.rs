//! What Netting's parts measure, by the names in their `/metrics`. All of these names
//! are here and nowhere else in this command.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    exposition::Sample,
    traffic::{Counts, Requests},
};

/// Which build it is.
const BUILD: &str = "netting_build_info";
/// When the catalog last heard of a change.
const LAST_EVENT: &str = "netting_catalog_watch_last_event_timestamp_seconds";
/// Requests, by how they ended.
const REQUESTS: &str = "netting_http_requests_total";
/// How long requests took.
const REQUEST_DURATION: &str = "netting_http_request_duration_seconds_bucket";
/// Connections open now.
const CONNECTIONS_OPEN: &str = "netting_tcp_connections_active";
/// Connections so far.
const CONNECTIONS: &str = "netting_tcp_connections_opened_total";

/// The version of the process.
#[must_use]
pub fn version(samples: &[Sample<'_>]) -> Option<String> {
    let build = samples.iter().find(|sample| sample.name == BUILD)?;
    build.label("version").map(ToOwned::to_owned)
}

/// When the catalog last heard of a change of each resource it watches.
#[must_use]
pub fn last_events<'a>(samples: &'a [Sample<'_>]) -> Vec<(&'a str, SystemTime)> {
    let gauges = samples.iter().filter(|sample| sample.name == LAST_EVENT);
    let at = |sample: &'a Sample<'_>| {
        let since = Duration::try_from_secs_f64(sample.value).ok()?;
        Some((sample.label("resource")?, UNIX_EPOCH + since))
    };
    gauges.filter_map(at).collect()
}

/// What a sidecar has counted.
#[must_use]
pub fn counts(samples: &[Sample<'_>]) -> Counts {
    let mut counts = Counts::default();
    for sample in samples {
        let inbound = sample.label("direction") == Some("inbound");
        let requests = if inbound {
            &mut counts.inbound
        } else {
            &mut counts.outbound
        };
        match sample.name {
            REQUESTS => ended(requests, sample),
            REQUEST_DURATION => {
                if let Some(bound) = sample.label("le").and_then(|le| le.parse().ok()) {
                    requests.durations.add(bound, sample.value);
                }
            }
            CONNECTIONS_OPEN if inbound => counts.connections_open += sample.value,
            CONNECTIONS if inbound => counts.connections += sample.value,
            _ => {}
        }
    }
    counts
}

fn ended(requests: &mut Requests, sample: &Sample<'_>) {
    requests.ended += sample.value;
    if matches!(sample.label("status"), Some("5xx" | "none")) {
        requests.failed += sample.value;
    }
}
