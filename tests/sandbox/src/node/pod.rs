//! One pod's life on the node, from its binding to its removal.
//!
//! [`run`] reads it top to bottom: a place is prepared, `containers` are started in their order and
//! ended in theirs, the place is cleared, and once somebody has deleted the pod, its object goes.
//! Meanwhile a publisher tells the API every change of the pod's [`State`](state::State).

mod containers;
mod keep;
mod place;
mod start;
mod state;
mod status;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::agent::Node;
use super::events::Kind;
use place::Place;
use state::State;
use status::Publisher;

/// What was tried in vain is tried again after this; an image or a key may have come meanwhile.
const RETRY: Duration = Duration::from_secs(2);

/// For the API to be told of a pod's end.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// The newest that the API says about a pod.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) pod: Arc<Pod>,
    /// It was removed without waiting for this node.
    pub(crate) gone: bool,
}

/// What all that is done for a pod shares.
struct Life {
    node: Arc<Node>,
    pod: Arc<Pod>,
    spec: PodSpec,
    /// Set once the pod has a network and its volumes.
    place: OnceLock<Place>,
    state: watch::Sender<State>,
    /// Set when the pod ends; the moment after which nobody waits for a turn.
    end: watch::Sender<Option<Instant>>,
}

/// Runs a pod until it has ended and is removed from the API. When `shutdown` comes, its processes
/// are killed, and the API isn't told, as when a node is switched off.
pub(crate) async fn run(
    node: Arc<Node>,
    updates: watch::Receiver<Update>,
    shutdown: CancellationToken,
) {
    let life = Arc::new(Life::new(node, &updates.borrow().pod));
    let mut publisher = Publisher::default();
    let lived = async {
        life.settle().await;
        if life.place.get().is_some() {
            containers::run(&life).await;
        }
        life.leave().await;
        life.state.send_modify(|state| state.over = true);
        deletion(updates.clone()).await
    };
    let gone = tokio::select! {
        gone = lived => gone,
        () = life.heed(updates.clone()) => return,
        () = publisher.follow(&life) => return,
        () = shutdown.cancelled() => return life.leave().await,
    };
    // Its last status is written before it is removed, for those who wait for how it ended.
    let farewell = async {
        publisher.publish(&life).await;
        if !gone {
            remove(&life.node, &life.pod).await;
        }
    };
    if tokio::time::timeout(FAREWELL_TIMEOUT, farewell)
        .await
        .is_err()
    {
        tracing::warn!(
            pod = life.pod.name_any(),
            "the API was not told of a pod's end"
        );
    }
    super::volumes::remove(&place::logs_dir(&life.node, &life.pod));
}

/// Waits until the pod is deleted; returns whether its object is gone already.
async fn deletion(mut updates: watch::Receiver<Update>) -> bool {
    let deleted = |update: &Update| update.gone || update.pod.metadata.deletion_timestamp.is_some();
    let update = updates.wait_for(deleted).await;
    // Nobody tells any more when the node ends, and then nothing is left to do.
    update.map_or(true, |update| update.gone)
}

/// Tells the API that the pod has ended, so that its object can go.
pub(crate) async fn remove(node: &Node, pod: &Pod) {
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let namespace = pod.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(node.client.clone(), &namespace);
    while let Err(error) = api.delete(&pod.name_any(), &params).await {
        if matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
            return;
        }
        tracing::warn!(pod = pod.name_any(), %error, "could not remove a pod that has ended");
        tokio::time::sleep(RETRY).await;
    }
}

impl Life {
    fn new(node: Arc<Node>, pod: &Arc<Pod>) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        Self {
            state: watch::Sender::new(State::new(&spec, pod.status.as_ref())),
            end: watch::Sender::new(None),
            place: OnceLock::new(),
            pod: Arc::clone(pod),
            node,
            spec,
        }
    }

    fn tell(
        &self,
        container: Option<&str>,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.node
            .events
            .tell(&self.pod, container, kind, reason, message);
    }

    /// The time that the pod has for its end, unless whoever ends it says otherwise.
    fn grace(&self) -> Duration {
        let secs = self.spec.termination_grace_period_seconds.unwrap_or(30);
        Duration::from_secs(secs.try_into().unwrap_or(0))
    }

    /// Prepares the pod's place, unless it ends before that can be done.
    async fn settle(&self) {
        loop {
            match Place::prepare(&self.node, &self.pod).await {
                Ok(place) => {
                    self.state
                        .send_modify(|state| state.addrs.clone_from(&place.addrs));
                    // Nobody else sets it.
                    let _ = self.place.set(place);
                    return;
                }
                Err((reason, message)) => self.tell(None, Kind::Warning, reason, message),
            }
            if self.ends_within(RETRY).await {
                return;
            }
        }
    }

    /// Gives up all but the logs.
    async fn leave(&self) {
        if let Some(place) = self.place.get() {
            place.clear(&self.node).await;
        }
    }

    /// Ends the pod when the API says so. A later word may only shorten the time it has.
    async fn heed(&self, mut updates: watch::Receiver<Update>) {
        loop {
            let Update { pod, gone } = updates.borrow_and_update().clone();
            let asked = pod.metadata.deletion_grace_period_seconds;
            let asked = asked
                .and_then(|secs| secs.try_into().ok())
                .map(Duration::from_secs);
            if gone {
                self.end_within(Duration::ZERO);
            } else if pod.metadata.deletion_timestamp.is_some() {
                self.end_within(asked.unwrap_or_else(|| self.grace()));
            }
            if updates.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn end_within(&self, time: Duration) {
        let deadline = Instant::now() + time;
        self.end.send_if_modified(|end| {
            let earlier = end.is_none_or(|end| deadline < end);
            if earlier {
                *end = Some(deadline);
            }
            earlier
        });
    }

    fn is_ending(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Waits until the pod ends, and returns by when.
    async fn deadline(&self) -> Instant {
        let mut end = self.end.subscribe();
        let found = end.wait_for(Option::is_some).await.ok();
        found.and_then(|end| *end).unwrap_or_else(Instant::now)
    }

    /// Waits for that time; whether the pod ended meanwhile.
    async fn ends_within(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.deadline()).await.is_ok()
    }
}
