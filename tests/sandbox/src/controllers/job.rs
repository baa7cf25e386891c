//! Jobs: pods that are to end well, a number of times.

use std::time::Duration;

use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::watcher,
};
use serde_json::{Value, json};

use super::{
    MANAGER,
    addresses::is_ready,
    owned,
    queue::{self, Place},
    replicaset::{is_active, pod, post},
};

/// How long to wait after the first failed pod; doubled for each further one.
const BACKOFF_SECONDS: i64 = 10;
const BACKOFF_SECONDS_MAX: i64 = 360;

/// Keeps all Jobs up to date.
pub(super) async fn run(client: Client) {
    let queue = queue::Queue::new();
    let config = watcher::Config::default;
    queue::watch(Api::all(client.clone()), config(), &queue, |one: &Job| {
        vec![Place::of(one)]
    })
    .await;
    queue::watch(Api::all(client.clone()), config(), &queue, |pod: &Pod| {
        owned::controller(pod, "Job")
    })
    .await;
    queue::run("job", queue, |place| look(client.clone(), place)).await;
}

async fn look(client: Client, place: Place) -> anyhow::Result<Option<Duration>> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &place.namespace);
    let pods: Api<Pod> = Api::namespaced(client, &place.namespace);
    let Some(job) = jobs.get_opt(&place.name).await? else {
        return Ok(None);
    };
    let Some(spec) = job
        .spec
        .clone()
        .filter(|_| job.metadata.deletion_timestamp.is_none())
    else {
        return Ok(None);
    };
    let mine = format!(
        "batch.kubernetes.io/controller-uid={}",
        job.uid().unwrap_or_default()
    );
    let mut owned = pods.list(&ListParams::default().labels(&mine)).await?.items;
    owned.retain(|pod| owned::controls(&job, pod));
    let phase = |wanted: &str| {
        let of = |pod: &&Pod| {
            pod.status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                == Some(wanted)
        };
        owned.iter().filter(of).count()
    };
    let (succeeded, failed) = (phase("Succeeded"), phase("Failed"));
    let active: Vec<&Pod> = owned.iter().filter(|pod| is_active(pod)).collect();
    let completions = usize::try_from(spec.completions.unwrap_or(1)).unwrap_or(1);
    let limit = usize::try_from(spec.backoff_limit.unwrap_or(6)).unwrap_or(6);
    let verdict = if succeeded >= completions {
        Some((
            "Complete",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ))
    } else if failed > limit {
        Some((
            "Failed",
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ))
    } else {
        None
    };
    let has_ended = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| {
            matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
        });
    let mut made = 0;
    let mut wait = None;
    if verdict.is_some() || has_ended || spec.suspend == Some(true) {
        for pod in &active {
            pods.delete(&pod.name_any(), &DeleteParams::default())
                .await?;
        }
    } else {
        let parallel = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(1);
        let missing = parallel
            .min(completions - succeeded)
            .saturating_sub(active.len());
        wait = backoff(&owned, failed).filter(|_| missing > 0);
        if wait.is_none() {
            for _ in 0..missing {
                pods.create(&post(), &pod(&job, "Job", &spec.template)?)
                    .await?;
                made += 1;
            }
        }
    }
    if !has_ended {
        let active_count = if verdict.is_some() {
            0
        } else {
            active.len() + made
        };
        let ready = active.iter().filter(|pod| is_ready(pod)).count();
        let status = status(&job, verdict, [active_count, ready, succeeded, failed]);
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        jobs.patch_status(
            &place.name,
            &params,
            &Patch::Merge(&json!({"status": status})),
        )
        .await?;
    }
    Ok(wait)
}

/// How much longer to wait before replacing a pod that failed.
fn backoff(pods: &[Pod], failed: usize) -> Option<Duration> {
    let last = pods.iter().filter_map(ended_at).max()?;
    let doublings = u32::try_from(failed.checked_sub(1)?)
        .unwrap_or(u32::MAX)
        .min(16);
    let pause = (BACKOFF_SECONDS << doublings).min(BACKOFF_SECONDS_MAX);
    let left = last.as_second() + pause - Timestamp::now().as_second();
    u64::try_from(left)
        .ok()
        .filter(|left| *left > 0)
        .map(Duration::from_secs)
}

fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended = statuses.iter().filter_map(|status| {
        status
            .state
            .as_ref()?
            .terminated
            .as_ref()?
            .finished_at
            .as_ref()
    });
    ended.map(|time| time.0).max()
}

fn status(job: &Job, verdict: Option<(&str, &str, &str)>, counts: [usize; 4]) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let [active, ready, succeeded, failed] = counts.map(|count| (count > 0).then_some(count));
    let started = job
        .status
        .as_ref()
        .and_then(|status| status.start_time.clone());
    let mut status = json!({"active": active, "ready": ready.unwrap_or(0), "succeeded": succeeded, "failed": failed,
        "startTime": started.map_or_else(|| now.as_str().into(), |time| json!(time)),
        "uncountedTerminatedPods": {}, "terminating": 0});
    if let Some((kind, reason, message)) = verdict {
        let criterion = if kind == "Complete" {
            "SuccessCriteriaMet"
        } else {
            "FailureTarget"
        };
        status["conditions"] = [criterion, kind]
            .map(|kind| {
                json!({"type": kind, "status": "True", "reason": reason, "message": message,
                    "lastProbeTime": now, "lastTransitionTime": now})
            })
            .to_vec()
            .into();
        if kind == "Complete" {
            status["completionTime"] = now.into();
        }
    }
    status
}
