//! CronJobs: a Job whenever one is due, named after the minute. What is to be done is decided by
//! `plan`, in the order of the controller of Kubernetes
//! (kubernetes/kubernetes, `pkg/controller/cronjob/cronjob_controllerv2.go`).

mod plan;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use self::plan::Plan;
use super::{controls, reference};
use crate::api::{
    insider::Insider,
    object::{Object as _, at},
    resources::{self, Resource},
    schedule::Minute,
    status::Status,
    store::Key,
};

/// On a Job: when it was due.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Makes the Job that is due, removes those that nobody needs to remember, and tells what runs.
pub(super) async fn look(insider: &Insider, cron_job: &Value) -> Result<(), Status> {
    let jobs = insider.list(jobs(), Some(cron_job.namespace()));
    let jobs = jobs.iter().filter(|job| controls(cron_job, job));
    let jobs: Vec<Value> = jobs.map(|job| Value::clone(job)).collect();
    let Plan {
        due,
        mut active,
        superfluous,
        last_success,
    } = plan::plan(cron_job, &jobs, Timestamp::now());
    for job in &superfluous {
        insider.delete(self::jobs(), job)?;
    }
    let mut status = json!({});
    if let Some(minute) = due {
        let job = match make(insider, cron_job, minute).await {
            // This controller's own, whose name was not noted down.
            Err(status) if status.code == 409 => {
                let name = name(cron_job, minute);
                let key = Key::new(self::jobs(), cron_job.namespace(), &name);
                let found = insider.cluster.store.get(&key);
                let own = found.filter(|job| controls(cron_job, job));
                own.map(|job| Value::clone(&job)).ok_or(status)?
            }
            made => made?,
        };
        active.push(job);
        status["lastScheduleTime"] = at(minute.begin()).into();
    }
    // A merge patch takes an empty list for what it is; the API server would not show it.
    status["active"] = match active.is_empty() {
        true => Value::Null,
        false => active.iter().map(as_active).collect(),
    };
    if let Some(time) = last_success {
        status["lastSuccessfulTime"] = time.into();
    }
    let kind = resources::find("batch", "v1", "cronjobs").expect("it is in the table");
    let key = Key::of(kind, cron_job);
    insider
        .patch(&key, "status", &json!({"status": status}))
        .await
}

/// `nightly-29921837`.
fn name(cron_job: &Value, minute: Minute) -> String {
    format!("{}-{}", cron_job.name(), minute.number())
}

async fn make(insider: &Insider, cron_job: &Value, minute: Minute) -> Result<Value, Status> {
    let template = &cron_job["spec"]["jobTemplate"];
    let mut metadata =
        json!({"name": name(cron_job, minute), "ownerReferences": [reference(cron_job)]});
    if let Some(labels) = template["metadata"].get("labels") {
        metadata["labels"] = labels.clone();
    }
    let annotations = template["metadata"]["annotations"].as_object();
    let mut annotations = annotations.cloned().unwrap_or_default();
    annotations.insert(SCHEDULED.to_owned(), at(minute.begin()).into());
    metadata["annotations"] = annotations.into();
    let job = json!({"metadata": metadata, "spec": template["spec"]});
    insider.create(jobs(), cron_job.namespace(), &job).await
}

fn as_active(job: &Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "name": job.name(),
        "namespace": job.namespace(), "resourceVersion": job.revision(), "uid": job.uid()})
}

fn jobs() -> &'static Resource {
    resources::find("batch", "v1", "jobs").expect("it is in the table")
}
