//! Whether the catalog hears of what happens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::Pod;
use netting_webhook::names::CATALOG;

use super::{Code, Facts, Finding, facts::Mesh};
use crate::{exposition, instruments};

/// How long after a pod was made the catalog may not have heard of any yet.
const LATE: Duration = Duration::from_secs(60);

pub(super) fn findings(facts: &Facts, mesh: &Mesh) -> Vec<Finding> {
    let catalogs = mesh
        .metrics
        .iter()
        .filter(|(pod, _)| pod.starts_with(CATALOG));
    let answered = catalogs.filter_map(|(pod, metrics)| Some((pod, metrics.as_ref().ok()?)));
    answered
        .filter_map(|(pod, metrics)| sync(facts, pod, metrics))
        .collect()
}

fn sync(facts: &Facts, pod: &str, metrics: &str) -> Option<Finding> {
    let samples = exposition::samples(metrics).ok()?;
    let events = instruments::last_events(&samples);
    let newest = events.iter().map(|(_, at)| *at).max()?;
    let of_pods = events.iter().find(|(resource, _)| *resource == "pods");
    let subject = format!("pod/{pod}");
    let pods = facts.pods.as_ref().map(Vec::as_slice).unwrap_or_default();
    let youngest = pods
        .iter()
        .filter(|pod| is_meshed(pod))
        .filter_map(created)
        .max();
    if let (Some((_, heard)), Some(youngest)) = (of_pods, youngest)
        && youngest > *heard + LATE
        && facts.now > youngest + LATE
    {
        let behind = whole_seconds(youngest.duration_since(*heard).unwrap_or_default());
        let message =
            format!("has not heard of a pod that was made {behind} after the last one it heard of");
        let advice = "restart it, and see its log for what the API server refuses";
        return Some(Code::CatalogStale.finding(subject, message, advice));
    }
    let age = whole_seconds(facts.now.duration_since(newest).unwrap_or_default());
    Some(Code::CatalogGood.told(subject, format!("last heard of a change {age} ago")))
}

fn is_meshed(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(netting_webhook::names::INJECTED))
}

/// When a pod was made.
pub(super) fn created(pod: &Pod) -> Option<SystemTime> {
    let at = pod.metadata.creation_timestamp.as_ref()?;
    let seconds = u64::try_from(at.0.as_second()).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// `50m`, `1h 2m 3s`.
fn whole_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}
