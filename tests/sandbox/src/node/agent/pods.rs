//! Follows the node's pods and gives each a task.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher, watcher::Event};
use kube::{Api, ResourceExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Node;
use crate::node::pod::{self, Update};

/// The pods of the node, each with its task.
pub(super) struct Pods {
    node: Arc<Node>,
    ending: CancellationToken,
    /// Each returns the uid of its pod.
    tasks: JoinSet<String>,
    known: HashMap<String, watch::Sender<Update>>,
}

impl Pods {
    /// Their tasks end when `ending` is cancelled.
    pub(super) fn new(node: Arc<Node>, ending: CancellationToken) -> Self {
        let (tasks, known) = (JoinSet::new(), HashMap::new());
        Self {
            node,
            ending,
            tasks,
            known,
        }
    }

    /// Waits until no pod is left.
    pub(super) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Gives each pod of the node a task, and tells it of changes.
    pub(super) async fn follow(&mut self) {
        let api: Api<Pod> = Api::all(self.node.client.clone());
        let ours = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node.name));
        let mut events = pin!(watcher(api, ours).default_backoff());
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    match ended {
                        Ok(uid) => drop(self.known.remove(&uid)),
                        Err(error) => tracing::error!(%error, "a pod's task failed"),
                    }
                    continue;
                }
                event = events.next() => event,
            };
            match event {
                None => return,
                Some(Err(error)) => {
                    tracing::warn!(%error, "watching the node's pods failed; trying again");
                }
                Some(Ok(Event::Apply(pod))) => self.update(pod, false),
                Some(Ok(Event::Delete(pod))) => self.update(pod, true),
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(Event::InitApply(pod))) => {
                    listed.extend(pod.uid());
                    self.update(pod, false);
                }
                Some(Ok(Event::InitDone)) => {
                    for (uid, updates) in &self.known {
                        if !listed.contains(uid) {
                            updates.send_modify(|update| update.gone = true);
                        }
                    }
                }
            }
        }
    }

    fn update(&mut self, pod: Pod, gone: bool) {
        let Some(uid) = pod.uid() else { return };
        if pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) != Some(&self.node.name) {
            return;
        }
        let update = Update {
            pod: Arc::new(pod),
            gone,
        };
        if let Some(updates) = self.known.get(&uid) {
            updates.send_replace(update);
            return;
        }
        let (node, ending) = (self.node.clone(), self.ending.clone());
        match fate(&update) {
            Fate::Leave => (),
            Fate::Remove => {
                self.known
                    .insert(uid.clone(), watch::channel(update.clone()).0);
                self.tasks.spawn(async move {
                    pod::remove(&node, &update.pod).await;
                    uid
                });
            }
            Fate::Run => {
                let (updates, receiver) = watch::channel(update);
                self.known.insert(uid.clone(), updates);
                self.tasks.spawn(async move {
                    pod::run(node, receiver, ending).await;
                    uid
                });
            }
        }
    }
}

/// What becomes of a pod that has no task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Run,
    /// It ended under an agent before this one; its object waits for a node to let it go.
    Remove,
    /// It is over, and all that is left of it are its object and what others keep that for.
    Leave,
}

fn fate(update: &Update) -> Fate {
    let metadata = &update.pod.metadata;
    let deleted = metadata.deletion_timestamp.is_some();
    let status = update.pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed"));
    let let_go = deleted && metadata.deletion_grace_period_seconds == Some(0);
    match (ended, deleted) {
        _ if update.gone || let_go => Fate::Leave,
        (true, true) => Fate::Remove,
        (true, false) => Fate::Leave,
        (false, _) => Fate::Run,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_pods_that_are_not_over_are_run() {
        let deletion = |grace: i64| {
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z",
                   "deletionGracePeriodSeconds": grace})
        };
        for (metadata, phase, gone, expected) in [
            (json!({}), "Pending", true, Fate::Leave),
            (json!({}), "Succeeded", false, Fate::Leave),
            (json!({}), "Failed", false, Fate::Leave),
            // A finalizer holds it.
            (deletion(0), "Running", false, Fate::Leave),
            (deletion(30), "Succeeded", false, Fate::Remove),
            (deletion(30), "Running", false, Fate::Run),
            (json!({}), "Pending", false, Fate::Run),
            (json!({}), "Running", false, Fate::Run),
        ] {
            let pod = json!({"metadata": metadata, "status": {"phase": phase}});
            let pod = Arc::new(serde_json::from_value(pod).expect("a pod"));
            assert_eq!(
                fate(&Update { pod, gone }),
                expected,
                "{metadata} {phase} {gone}"
            );
        }
    }
}
