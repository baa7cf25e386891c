//! What Netting's parts measure, by the names in their `/instruments`. All of these names
//! are here and nowhere else in this command. Those of requests are OpenTelemetry's:
//! <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    exposition::Sample,
    traffic::{Counted, Peer, Requests, Series, Way},
};

/// Which build it is.
const BUILD: &str = "netting_build_info";
/// When the catalog last heard of a change.
const LAST_EVENT: &str = "netting_catalog_watch_last_event_timestamp_seconds";
/// Requests to the application, and from it: `_count` and `_bucket`.
const SERVER: &str = "http_server_request_duration_seconds";
const CLIENT: &str = "http_client_request_duration_seconds";
/// Calls of gRPC among them, whose failures HTTP knows nothing of.
const SERVER_CALLS: &str = "rpc_server_call_duration_seconds";
const CLIENT_CALLS: &str = "rpc_client_call_duration_seconds";
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
pub fn counted(samples: &[Sample<'_>]) -> Counted {
    let mut counted = Counted::default();
    for sample in samples {
        if let Some((way, part)) = request(sample) {
            let requests = counted.requests.entry(series(way, sample)).or_default();
            count(requests, part, sample);
        } else if sample.label("direction") == Some("inbound") {
            match sample.name {
                CONNECTIONS_OPEN => counted.connections_open += sample.value,
                CONNECTIONS => counted.connections += sample.value,
                _ => {}
            }
        }
    }
    counted
}

/// Where requests go and what of them is counted, if a sample counts some.
fn request(sample: &Sample<'_>) -> Option<(Way, Part)> {
    if let Some(part) = part_of(sample.name, [SERVER, SERVER_CALLS]) {
        return Some((Way::Inbound, part));
    }
    let part = part_of(sample.name, [CLIENT, CLIENT_CALLS])?;
    Some((peer(sample).map_or(Way::Outbound, Way::To), part))
}

/// What a sample is part of: the count of a histogram and its buckets are one series.
fn series(way: Way, sample: &Sample<'_>) -> Series {
    let (metric, _) = sample.name.rsplit_once('_').unwrap_or((sample.name, ""));
    let labels = sample.labels.iter().filter(|(name, _)| *name != "le");
    let labels = labels.map(|(name, value)| format!("{name}={value:?}"));
    let labels = labels.collect::<Vec<_>>().join(",");
    Series {
        way,
        name: format!("{metric}{{{labels}}}"),
    }
}

/// What of requests or calls a sample counts.
#[derive(Clone, Copy)]
enum Part {
    Requests,
    Durations,
    Calls,
}

fn part_of(name: &str, [requests, calls]: [&str; 2]) -> Option<Part> {
    if let Some(suffix) = name.strip_prefix(requests) {
        return match suffix {
            "_count" => Some(Part::Requests),
            "_bucket" => Some(Part::Durations),
            _ => None,
        };
    }
    (name.strip_prefix(calls)? == "_count").then_some(Part::Calls)
}

fn count(requests: &mut Requests, part: Part, sample: &Sample<'_>) {
    match part {
        Part::Requests => {
            requests.ended += sample.value;
            // A request without a status had no response.
            let status = sample.label("http_response_status_code");
            if status.is_none_or(|status| status.starts_with('5')) {
                requests.failed += sample.value;
            }
        }
        Part::Durations => {
            if let Some(bound) = sample.label("le").and_then(|le| le.parse().ok()) {
                requests.durations.add(bound, sample.value);
            }
        }
        // Calls without a status of their own are failures of HTTP, and counted there.
        Part::Calls => {
            let status = sample.label("rpc_response_status_code");
            if status.is_some() && sample.label("error_type").is_some() {
                requests.failed += sample.value;
            }
        }
    }
}

fn peer(sample: &Sample<'_>) -> Option<Peer> {
    Some(Peer {
        namespace: sample.label("service_peer_namespace")?.to_owned(),
        name: sample.label("service_peer_name")?.to_owned(),
        port: sample.label("server_port")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests;
