//! Jobs: pods that are to end well, a number of times. Those that fail are replaced at once.

use serde_json::{Value, json};

use super::pods::{is_active, make, owned};
use crate::api::{
    insider::Insider,
    object::{Object as _, now},
    resources,
    status::Status,
    store::Key,
};

/// Makes the pods that the Job still needs, and tells how far it is.
pub(super) async fn look(insider: &Insider, job: &Value) -> Result<(), Status> {
    if job.has_condition("Complete") || job.has_condition("Failed") {
        return Ok(());
    }
    let pods = owned(insider, job);
    let ended = |phase: &str| {
        pods.iter()
            .filter(|pod| pod.text("/status/phase") == phase)
            .count()
    };
    let (succeeded, failed) = (ended("Succeeded"), ended("Failed"));
    let mut active = pods.iter().filter(|pod| is_active(pod)).count();
    let count =
        |field: &str, default| usize::try_from(job.integer(field).unwrap_or(default)).unwrap_or(0);
    let completions = count("/spec/completions", 1);
    let verdict = if succeeded >= completions {
        Some(("Complete", "CompletionsReached"))
    } else if failed > count("/spec/backoffLimit", 6) {
        Some(("Failed", "BackoffLimitExceeded"))
    } else {
        None
    };
    if verdict.is_some() {
        for pod in pods.iter().filter(|pod| is_active(pod)) {
            insider.delete(resources::core("pods"), pod)?;
        }
        active = 0;
    } else {
        let wanted = count("/spec/parallelism", 1).min(completions - succeeded);
        let missing = wanted.saturating_sub(active);
        for _ in 0..missing {
            make(insider, job).await?;
        }
        active += missing;
    }
    let started = match job.text("/status/startTime") {
        "" => now(),
        started => started.to_owned(),
    };
    let mut status =
        json!({"active": active, "succeeded": succeeded, "failed": failed, "startTime": started});
    if let Some((kind, reason)) = verdict {
        let since = now();
        status["conditions"] = json!([{"type": kind, "status": "True", "reason": reason, "lastTransitionTime": since}]);
        if kind == "Complete" {
            status["completionTime"] = since.into();
        }
    }
    let jobs = resources::find("batch", "v1", "jobs").expect("it is in the table");
    insider
        .patch(&Key::of(jobs, job), "status", &json!({"status": status}))
        .await
}
