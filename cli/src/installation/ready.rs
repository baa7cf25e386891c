//! Until it works: the Deployments are available, and the API server gets an answer
//! from the webhook.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::bail;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, ResourceExt as _, api::ListParams};
use netting_webhook::names;
use tokio::time::sleep;

use crate::{
    cluster::{Asked as _, Cluster},
    output::Tone,
};

use super::{
    progress::Progress,
    selector,
    trial::{self, Trial},
};

mod pods;

/// The Deployments of the control plane.
pub const PARTS: [&str; 2] = [names::CATALOG, names::WEBHOOK];
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waits, and says what it is waiting for whenever that changes. What came of a pod on
/// trial is left to the caller to judge, if the webhook was asked at all.
///
/// # Errors
/// If it doesn't work within `patience`; says what is known about why.
pub async fn until_it_works(cluster: &Cluster, patience: Duration) -> anyhow::Result<Trial> {
    let deadline = Instant::now() + patience;
    let progress = Progress::new();
    let late = |what: String| {
        format!(
            "{what} within {}s; the same command goes on waiting",
            patience.as_secs()
        )
    };
    until_available(cluster, deadline, progress, &late).await?;
    until_asked(cluster, deadline, progress, &late).await
}

async fn until_available(
    cluster: &Cluster,
    deadline: Instant,
    progress: Progress,
    late: &impl Fn(String) -> String,
) -> anyhow::Result<()> {
    let namespace = &cluster.system_namespace;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let mut said = BTreeSet::new();
    loop {
        let mut waiting = Vec::new();
        for part in PARTS {
            let deployment = deployments.get(part).await.asked("get a Deployment")?;
            let state = Rollout::of(&deployment);
            let line = format!("{part}: {state}");
            let tone = if state.is_done() {
                Tone::Good
            } else {
                waiting.push(line.clone());
                Tone::Plain
            };
            if said.insert(line.clone()) {
                let done = if state.is_done() { "ready" } else { "waiting" };
                progress.say(tone, done, &line);
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let troubles = troubles(cluster).await?;
        for trouble in &troubles {
            if said.insert(trouble.clone()) {
                progress.say(Tone::Warning, "trouble", trouble);
            }
        }
        if Instant::now() >= deadline {
            let what = format!("not available: {}", waiting.join(", "));
            let troubles: String = troubles.iter().map(|one| format!("\n  {one}")).collect();
            bail!("{}{troubles}", late(what));
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn troubles(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let namespace = &cluster.system_namespace;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let ours = ListParams::default().labels(&selector());
    let pods = pods.list(&ours).await.asked("list Pods")?;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let deployments = deployments.list(&ours).await.asked("list Deployments")?;
    let refused = deployments.iter().filter_map(|deployment| {
        let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
        let failure = conditions
            .iter()
            .find(|one| one.type_ == "ReplicaFailure" && one.status == "True")?;
        let message = failure.message.as_deref().unwrap_or("no reason is given");
        Some(format!(
            "{}: no pod is created: {message}",
            deployment.name_any()
        ))
    });
    let pods = pods.iter().filter_map(pods::trouble);
    Ok(refused.chain(pods).collect())
}

/// How far a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rollout {
    wanted: i32,
    available: i32,
    updated: i32,
    /// Pods of all revisions.
    total: i32,
    /// Whether the controller has seen the newest revision.
    observed: bool,
}

impl Rollout {
    fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let status = deployment.status.clone().unwrap_or_default();
        Self {
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            available: status.available_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            total: status.replicas.unwrap_or(0),
            observed: status.observed_generation >= deployment.metadata.generation,
        }
    }

    fn is_done(self) -> bool {
        let all = [self.available, self.updated, self.total];
        self.observed && all.iter().all(|count| *count == self.wanted)
    }
}

impl std::fmt::Display for Rollout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            wanted,
            available,
            updated,
            total,
            ..
        } = self;
        if !self.observed {
            f.write_str("not begun")
        } else if updated < wanted {
            write!(f, "{updated} of {wanted} replicas are of this version")
        } else if available < wanted {
            write!(f, "{available} of {wanted} replicas available")
        } else if total > wanted {
            write!(f, "{} of the former version are ending", total - wanted)
        } else {
            write!(f, "{available} of {wanted} replicas available")
        }
    }
}

/// The API server passes pods by while it doesn't trust the webhook's certificate, or
/// doesn't find its endpoints: a moment longer than its Deployment takes.
async fn until_asked(
    cluster: &Cluster,
    deadline: Instant,
    progress: Progress,
    late: &impl Fn(String) -> String,
) -> anyhow::Result<Trial> {
    progress.say(Tone::Plain, "waiting", "a pod on trial is given a sidecar");
    loop {
        let why = match trial::run(cluster, trial::NAMESPACE).await {
            Ok(Trial::Unasked) => {
                "a pod that asks for a sidecar gets none: can the control plane reach port 8443 \
                      of the webhook's pods (in private clusters a firewall rule has to allow it)?"
                    .to_owned()
            }
            Ok(trial) => {
                let (tone, done, line) = told(&trial);
                progress.say(tone, done, &line);
                return Ok(trial);
            }
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("{}: {why}", late("the webhook does not answer".to_owned()));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// A trial that tells something, as progress.
fn told(trial: &Trial) -> (Tone, &'static str, String) {
    let place = trial::NAMESPACE;
    match trial {
        Trial::Injected | Trial::Unasked => (Tone::Good, "ready", "the webhook injects".to_owned()),
        // Something else has an opinion about pods there; it's not for us to argue.
        Trial::Left(why) => {
            let line =
                format!("the webhook answers; of a pod in the namespace {place} it says: {why}");
            (Tone::Warning, "untried", line)
        }
        Trial::Untried(message) => {
            let line = format!("pods on trial are refused: {message}");
            (Tone::Warning, "untried", line)
        }
        Trial::Refused(message) => {
            let line = format!("a pod with a sidecar, in the namespace {place}: {message}");
            (Tone::Bad, "refused", line)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(wanted: i32, status: serde_json::Value) -> String {
        let deployment = serde_json::from_value(json!({
            "metadata": {"generation": 2},
            "spec": {"replicas": wanted, "selector": {}, "template": {}},
            "status": status,
        }));
        let rollout = Rollout::of(&deployment.expect("it is a Deployment"));
        format!("{rollout} {}", rollout.is_done())
    }

    #[test]
    fn a_rollout_is_done_when_no_former_pod_is_left() {
        for (status, expected) in [
            (json!({}), "not begun false"),
            (
                json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                "not begun false",
            ),
            (
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
                "1 of 2 replicas are of this version false",
            ),
            (
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
                "1 of 2 replicas available false",
            ),
            (
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}),
                "1 of the former version are ending false",
            ),
            (
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                "2 of 2 replicas available true",
            ),
        ] {
            assert_eq!(rollout(2, status), expected);
        }
    }
}
