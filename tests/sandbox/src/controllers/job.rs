//! Jobs: pods that are to end well, a number of times.

use std::time::Duration;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::Pod,
    },
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

/// The pods of a Job, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    active: usize,
    ready: usize,
    succeeded: usize,
    failed: usize,
}

/// How a Job ends: type, reason and message of its last condition.
type Verdict = (&'static str, &'static str, &'static str);

async fn look(client: Client, place: Place) -> anyhow::Result<Option<Duration>> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &place.namespace);
    let pods: Api<Pod> = Api::namespaced(client, &place.namespace);
    let Some(job) = jobs.get_opt(&place.name).await? else {
        return Ok(None);
    };
    let alive = job.metadata.deletion_timestamp.is_none();
    let Some(spec) = job.spec.as_ref().filter(|_| alive) else {
        return Ok(None);
    };
    let uid = job.uid().unwrap_or_default();
    let mine = ListParams::default().labels(&format!("batch.kubernetes.io/controller-uid={uid}"));
    let mut owned = pods.list(&mine).await?.items;
    owned.retain(|pod| owned::controls(&job, pod));
    let mut counts = count(&owned);
    let verdict = verdict(spec, counts);
    let ended = has_ended(&job);
    let mut wait = None;
    if verdict.is_some() || ended || spec.suspend == Some(true) {
        for pod in owned.iter().filter(|pod| is_active(pod)) {
            pods.delete(&pod.name_any(), &DeleteParams::default())
                .await?;
        }
        counts.active = 0;
    } else {
        let missing = missing(spec, counts);
        wait = backoff(&owned, counts.failed).filter(|_| missing > 0);
        for _ in 0..if wait.is_none() { missing } else { 0 } {
            pods.create(&post(), &pod(&job, "Job", &spec.template)?)
                .await?;
            counts.active += 1;
        }
    }
    if !ended {
        let status = json!({"status": status(&job, verdict, counts)});
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        jobs.patch_status(&place.name, &params, &Patch::Merge(&status))
            .await?;
    }
    Ok(wait)
}

fn count(pods: &[Pod]) -> Counts {
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
    let of = |wanted: &str| {
        pods.iter()
            .filter(|pod| phase(pod).as_deref() == Some(wanted))
            .count()
    };
    let active = || pods.iter().filter(|pod| is_active(pod));
    Counts {
        active: active().count(),
        ready: active().filter(|pod| is_ready(pod)).count(),
        succeeded: of("Succeeded"),
        failed: of("Failed"),
    }
}

fn verdict(spec: &JobSpec, counts: Counts) -> Option<Verdict> {
    let limit = usize::try_from(spec.backoff_limit.unwrap_or(6)).unwrap_or(0);
    if counts.succeeded >= completions(spec) {
        Some((
            "Complete",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        ))
    } else if counts.failed > limit {
        Some((
            "Failed",
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        ))
    } else {
        None
    }
}

/// How many more pods should run now.
fn missing(spec: &JobSpec, counts: Counts) -> usize {
    let parallel = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0);
    let left = completions(spec).saturating_sub(counts.succeeded);
    parallel.min(left).saturating_sub(counts.active)
}

fn completions(spec: &JobSpec) -> usize {
    usize::try_from(spec.completions.unwrap_or(1)).unwrap_or(1)
}

fn has_ended(job: &Job) -> bool {
    let conditions = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut last = conditions.filter(|one| matches!(one.type_.as_str(), "Complete" | "Failed"));
    last.any(|condition| condition.status == "True")
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

fn status(job: &Job, verdict: Option<Verdict>, counts: Counts) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let some = |count: usize| (count > 0).then_some(count);
    let started = job
        .status
        .as_ref()
        .and_then(|status| status.start_time.clone());
    let mut status = json!({"active": some(counts.active), "ready": counts.ready, "succeeded": some(counts.succeeded),
        "failed": some(counts.failed),
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
