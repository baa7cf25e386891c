//! What `kube-controller-manager` does, as far as the mesh's tests need it: Deployments,
//! ReplicaSets, Jobs, CronJobs, EndpointSlices, Endpoints, and the removal of what lost its owner or its
//! namespace.
//!
//! Each controller is one function that brings one object up to date from what the store says now,
//! so that nothing depends on which changes were seen. It is called for every object of its kind
//! after every change: there are few. It writes as everybody does, through admission, under the name
//! of its service account. What to do is decided by plain functions: `addresses` for Services,
//! `rollout` for Deployments, `plan` for CronJobs.

mod addresses;
mod cron_job;
mod deployment;
mod endpoints;
mod garbage;
mod job;
mod pods;
mod rollout;
mod slices;

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    Cluster,
    insider::Insider,
    object::Object as _,
    resources::{self, Resource},
    schedule::Minute,
    status::Status,
};

/// How long to wait before trying again what failed, if nothing changes before.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Runs the controllers but those named in `without`, until the cluster stops.
pub async fn run(cluster: Arc<Cluster>, without: &'static [&'static str]) {
    let kind = |api_version, kind| {
        resources::of_kind(api_version, kind).expect("the kinds named here are in the table")
    };
    let deployments = kind("apps/v1", "Deployment");
    let sets = kind("apps/v1", "ReplicaSet");
    let jobs = kind("batch/v1", "Job");
    let cron_jobs = kind("batch/v1", "CronJob");
    let mut running = JoinSet::new();
    let mut start = |name: &'static str, controller| {
        if !without.contains(&name) {
            running.spawn(keep(Insider::new(&cluster, name), controller));
        }
    };
    start(
        "deployment-controller",
        Controller::Deployments(deployments),
    );
    start("replicaset-controller", Controller::ReplicaSets(sets));
    start("job-controller", Controller::Jobs(jobs));
    start("cronjob-controller", Controller::CronJobs(cron_jobs));
    start(
        "endpointslice-controller",
        Controller::Slices(resources::core("services")),
    );
    start("endpoint-controller", Controller::Endpoints);
    start("endpointslicemirroring-controller", Controller::Mirror);
    start("generic-garbage-collector", Controller::Garbage);
    running.join_all().await;
}

/// A controller, with the kind whose objects it looks after.
#[derive(Clone, Copy)]
enum Controller {
    Deployments(&'static Resource),
    ReplicaSets(&'static Resource),
    Jobs(&'static Resource),
    CronJobs(&'static Resource),
    Slices(&'static Resource),
    /// Services, and Endpoints whose Service may be gone.
    Endpoints,
    /// Endpoints that somebody wrote.
    Mirror,
    /// Objects of every kind.
    Garbage,
}

impl Controller {
    fn kinds(self) -> Vec<&'static Resource> {
        match self {
            Self::Deployments(kind)
            | Self::ReplicaSets(kind)
            | Self::Jobs(kind)
            | Self::CronJobs(kind)
            | Self::Slices(kind) => vec![kind],
            Self::Endpoints => ["services", "endpoints"].map(resources::core).into(),
            Self::Mirror => vec![resources::core("endpoints")],
            Self::Garbage => resources::RESOURCES.iter().collect(),
        }
    }

    /// When it has to look again though nothing has changed.
    fn looks_again(self) -> Option<Timestamp> {
        let is_timed = matches!(self, Self::CronJobs(_));
        is_timed.then(|| Minute::of(Timestamp::now()).next().begin())
    }

    async fn look(self, insider: &Insider, object: &Value) -> Result<(), Status> {
        match self {
            Self::Garbage => garbage::look(insider, object),
            _ if object.is_terminating() => Ok(()),
            Self::Deployments(_) => deployment::look(insider, object).await,
            Self::ReplicaSets(_) => pods::look_at_set(insider, object).await,
            Self::Jobs(_) => job::look(insider, object).await,
            Self::CronJobs(_) => cron_job::look(insider, object).await,
            Self::Slices(_) => slices::look(insider, object).await,
            Self::Endpoints => endpoints::look(insider, object).await,
            Self::Mirror => endpoints::mirror(insider, object).await,
        }
    }
}

/// Has `controller` look at all its objects after every change.
async fn keep(insider: Insider, controller: Controller) {
    let mut latest = insider.cluster.store.latest();
    loop {
        latest.borrow_and_update();
        let again = controller.looks_again();
        let mut failed = false;
        for kind in controller.kinds() {
            for object in insider.list(kind, None) {
                if let Err(error) = Box::pin(controller.look(&insider, &object)).await {
                    tracing::debug!(%error, kind = kind.kind, name = object.name(), "will try again");
                    failed = true;
                }
            }
        }
        tokio::select! {
            _ = latest.changed() => {}
            () = tokio::time::sleep(RETRY_AFTER), if failed => {}
            () = until(again), if again.is_some() => {}
            () = insider.cluster.stopping.cancelled() => return,
        }
    }
}

async fn until(time: Option<Timestamp>) {
    let left = time.map(|time| time.duration_since(Timestamp::now()));
    let left = left.and_then(|left| Duration::try_from(left).ok());
    tokio::time::sleep(left.unwrap_or_default()).await;
}

/// Whether `owner` is the controller of `object`.
fn controls(owner: &Value, object: &Value) -> bool {
    let mut owners = object.items("/metadata/ownerReferences").iter();
    owners.any(|one| one["controller"] == true && one["uid"] == owner["metadata"]["uid"])
}

/// The reference that makes `owner` the controller of whatever carries it.
fn reference(owner: &Value) -> Value {
    serde_json::json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner.name(),
        "uid": owner.uid(), "controller": true, "blockOwnerDeletion": true})
}
