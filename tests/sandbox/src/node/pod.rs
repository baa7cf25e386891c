//! One pod's life on the node: a task that does what its [`Lifecycle`] decides.

mod acts;
mod environment;
mod hooks;
mod place;
mod run;
mod said;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::agent::Node;
use super::containers::{Exec, Order};
use super::events::Kind;
use super::lifecycle::{Lifecycle, Role, State};
use super::probes::Purpose;
use super::status::{Facts, pod_status};
use place::Place;
use said::{Said, What};
use writer::StatusWriter;

/// Of things that happened to a pod's containers and wait to be heard.
const QUEUE_CAPACITY: usize = 64;

/// What was tried in vain is tried again after this; an image or a key may have come meanwhile.
const RETRY: Duration = Duration::from_secs(2);

/// How long killed processes may take to be gone when the agent ends.
const KILL_TIMEOUT: Duration = Duration::from_secs(3);

/// The newest that the API says about a pod.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) pod: Arc<Pod>,
    /// It was removed without waiting for this node.
    pub(crate) gone: bool,
}

/// Runs a pod until it has ended and is removed from the API, or the agent ends.
pub(crate) async fn run(
    node: Arc<Node>,
    updates: watch::Receiver<Update>,
    shutdown: CancellationToken,
) {
    let mut task = Task::new(node, updates);
    loop {
        task.step().await;
        if task.is_over() {
            return task.finish().await;
        }
        let wakeup = task.next_wakeup();
        tokio::select! {
            changed = task.updates.changed() => match changed {
                Ok(()) => task.take_update(),
                Err(_) => return task.abandon().await,
            },
            Some(said) = task.heard.recv() => task.hear(said),
            () = tokio::time::sleep_until(wakeup) => (),
            () = shutdown.cancelled() => return task.abandon().await,
        }
    }
}

/// Lets go of a pod that has ended before.
pub(crate) async fn remove(node: &Node, pod: &Pod) {
    writer::remove(&node.client, pod).await;
}

struct Task {
    node: Arc<Node>,
    pod: Arc<Pod>,
    gone: bool,
    updates: watch::Receiver<Update>,
    lifecycle: Lifecycle,
    place: Place,
    next_attempt: Instant,
    /// When `activeDeadlineSeconds` are over.
    active_until: Option<Instant>,
    exceeded: bool,
    start_time: Timestamp,
    status: StatusWriter,
    say: mpsc::Sender<Said>,
    heard: mpsc::Receiver<Said>,
    /// Runs and hooks of containers; they end with the task.
    work: JoinSet<()>,
    orders: HashMap<usize, watch::Sender<Order>>,
    execs: HashMap<usize, Exec>,
    probes: Vec<(usize, Purpose, AbortHandle)>,
}

impl Task {
    fn new(node: Arc<Node>, mut updates: watch::Receiver<Update>) -> Self {
        let Update { pod, gone } = updates.borrow_and_update().clone();
        let spec = pod.spec.clone().unwrap_or_default();
        let before = pod.status.as_ref();
        let start_time = before.and_then(|status| status.start_time.as_ref());
        let start_time = start_time.map_or_else(Timestamp::now, |time| time.0);
        let (say, heard) = mpsc::channel(QUEUE_CAPACITY);
        let active = spec
            .active_deadline_seconds
            .and_then(|secs| u64::try_from(secs).ok());
        let mut task = Self {
            lifecycle: Lifecycle::new(&spec, before),
            place: Place::new(&node, &pod),
            status: StatusWriter::start(node.client.clone(), &pod),
            next_attempt: Instant::now(),
            active_until: active.map(|secs| Instant::now() + Duration::from_secs(secs)),
            exceeded: false,
            work: JoinSet::new(),
            orders: HashMap::new(),
            execs: HashMap::new(),
            probes: Vec::new(),
            node,
            pod,
            gone,
            updates,
            start_time,
            say,
            heard,
        };
        task.note_deletion();
        task
    }

    /// Does what is due, and tells the API.
    async fn step(&mut self) {
        let now = Instant::now();
        if !self.place.is_ready() && !self.lifecycle.is_ending() && now >= self.next_attempt {
            self.publish();
            if let Err((reason, message)) = self.place.prepare(&self.node, &self.pod).await {
                self.node
                    .events
                    .tell(&self.pod, None, Kind::Warning, reason, message);
                self.next_attempt = Instant::now() + RETRY;
            }
        }
        if self.active_until.is_some_and(|until| until <= now) && !self.lifecycle.is_ending() {
            self.exceeded = true;
            self.lifecycle.end(now + self.grace());
        }
        if self.place.is_ready() || self.lifecycle.is_ending() {
            for action in self.lifecycle.advance(Instant::now()) {
                self.perform(&action);
            }
        }
        if self.lifecycle.is_ending() {
            self.stop_probes(|_, purpose| purpose != Purpose::Readiness);
        }
        if self.lifecycle.has_ended() {
            self.place.clear(&self.node).await;
        }
        while let Some(ended) = self.work.try_join_next() {
            // A probe that was stopped is no error.
            if let Some(error) = ended.err().filter(tokio::task::JoinError::is_panic) {
                tracing::error!(%error, pod = self.pod.name_any(), "a part of a pod's task failed");
            }
        }
        self.publish();
    }

    fn next_wakeup(&self) -> Instant {
        let now = Instant::now();
        let far = now + Duration::from_secs(3600);
        let attempt =
            (!self.place.is_ready() && !self.lifecycle.is_ending()).then_some(self.next_attempt);
        let exceeds = self.active_until.filter(|_| !self.lifecycle.is_ending());
        let own = self.lifecycle.next_wakeup(now);
        attempt
            .into_iter()
            .chain(exceeds)
            .chain(own)
            .min()
            .unwrap_or(far)
    }

    /// Whether it has ended and nobody wants to know any more.
    fn is_over(&self) -> bool {
        self.lifecycle.has_ended() && (self.gone || self.pod.metadata.deletion_timestamp.is_some())
    }

    fn spec(&self) -> PodSpec {
        self.pod.spec.clone().unwrap_or_default()
    }

    fn grace(&self) -> Duration {
        let secs = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds);
        Duration::from_secs(secs.and_then(|secs| secs.try_into().ok()).unwrap_or(30))
    }

    fn container(&self, number: usize) -> Container {
        let name = &self.lifecycle.slots[number].name;
        let spec = self.spec();
        let mut all = spec
            .init_containers
            .into_iter()
            .flatten()
            .chain(spec.containers);
        all.find(|container| container.name == *name)
            .unwrap_or_default()
    }

    fn publish(&mut self) {
        let addrs = if self.place.has_network() {
            self.place.addrs(&self.node)
        } else {
            Vec::new()
        };
        let previous = self.status.last();
        let exceeded = "Pod was active on the node longer than the specified deadline";
        let status = pod_status(Facts {
            pod: &self.pod,
            lifecycle: &self.lifecycle,
            addrs: &addrs,
            node_addrs: self.node.network.node_addrs(),
            start_time: self.start_time,
            sandbox_ready: self.place.is_ready(),
            reason: self.exceeded.then_some(("DeadlineExceeded", exceeded)),
            previous: previous.as_ref().or(self.pod.status.as_ref()),
            now: (Timestamp::now(), Instant::now()),
        });
        self.status.write(status);
    }

    /// Its last status is written before it is removed, for those who wait for how it ended.
    async fn finish(mut self) {
        self.status.flush().await;
        if !self.gone {
            writer::remove(&self.node.client, &self.pod).await;
        }
        self.place.remove_dirs();
    }

    /// The agent ends: processes are killed, and the API isn't told, as when a node is switched off.
    async fn abandon(mut self) {
        for orders in self.orders.values() {
            orders.send_replace(Order::Kill);
        }
        let killed = async {
            while self
                .lifecycle
                .slots
                .iter()
                .any(|slot| matches!(slot.state, State::Running { .. }))
            {
                match self.heard.recv().await {
                    Some(Said {
                        number,
                        what: What::Ended(exit),
                        ..
                    }) => {
                        self.lifecycle.slots[number].has_ended(exit, Instant::now());
                    }
                    Some(_) => (),
                    None => return,
                }
            }
        };
        if tokio::time::timeout(KILL_TIMEOUT, killed).await.is_err() {
            tracing::warn!(
                pod = self.pod.name_any(),
                "processes of a pod didn't end in time"
            );
        }
        self.work.shutdown().await;
        self.place.clear(&self.node).await;
        self.place.remove_dirs();
    }

    fn is_init(&self, number: usize) -> bool {
        self.lifecycle.slots[number].role == Role::Init
    }
}
