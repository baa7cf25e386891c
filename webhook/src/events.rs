//! Warnings as Kubernetes Events. The API server shows an admission's warnings to
//! whoever creates the pod, which for most pods is a controller that reads none.
//!
//! Never in the way of an answer: they go through a bounded queue to a task of their
//! own, and what there is no room for is dropped and counted.

use std::time::Duration;

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use netting_telemetry::admission::EventMetrics;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{decision::Verdict, review::Review};
use complaint::Complaint;
use ledger::{Entered, Ledger, Series};

mod complaint;
mod ledger;

/// Complaints of an instant; each has less than 3 KiB.
const QUEUE_CAPACITY: usize = 256;
/// How often Events are counted up that came up again.
const COUNT_TICK: Duration = Duration::from_secs(5);
/// An API server that is slower than that gets no Events.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Who reports, and what it was about.
const CONTROLLER: &str = "netting.dev/webhook";
const ACTION: &str = "Inject";

/// The side of those who have something to tell. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<Complaint>,
    metrics: EventMetrics,
}

/// The side that writes Events.
pub struct Writer {
    queue: mpsc::Receiver<Complaint>,
    metrics: EventMetrics,
    /// Name of this replica's pod.
    instance: String,
    said_refused: bool,
}

impl Events {
    /// Both sides. `instance` is what the Events say of who wrote them: the pod's name.
    #[must_use]
    pub fn new(metrics: EventMetrics, instance: &str) -> (Self, Writer) {
        let (sender, queue) = mpsc::channel(QUEUE_CAPACITY);
        let writer = Writer {
            queue,
            metrics: metrics.clone(),
            instance: instance.to_owned(),
            said_refused: false,
        };
        let queue = sender;
        (Self { queue, metrics }, writer)
    }

    /// Makes an Event of a verdict's warnings, if it has any and is no dry run's.
    pub fn tell(&self, review: &Review, verdict: &Verdict) {
        let Some(complaint) = Complaint::of(review, verdict) else {
            return;
        };
        if self.queue.try_send(complaint).is_err() {
            self.metrics.dropped();
        }
    }
}

impl Writer {
    /// Writes Events for as long as it is polled and somebody may tell something.
    pub async fn write(mut self, client: Client) {
        let mut ledger = Ledger::new(Instant::now());
        let mut count = tokio::time::interval(COUNT_TICK);
        loop {
            tokio::select! {
                complaint = self.queue.recv() => match complaint {
                    Some(complaint) => self.enter(&client, &mut ledger, complaint).await,
                    None => return,
                },
                _ = count.tick() => for series in ledger.due(Instant::now()) {
                    self.count_up(&client, &series).await;
                },
            }
        }
    }

    async fn enter(&mut self, client: &Client, ledger: &mut Ledger, complaint: Complaint) {
        let now = Timestamp::now();
        let name = format!("netting-webhook.{:x}", now.as_nanosecond());
        match ledger.enter(&complaint, &name, Instant::now()) {
            Entered::New => {}
            Entered::Again => return,
            Entered::TooMany => return self.metrics.dropped(),
        }
        let event = self.event(&complaint, name, now);
        let events: Api<Event> = Api::namespaced(client.clone(), &complaint.regarding.namespace);
        let params = PostParams::default();
        let written = timeout(WRITE_TIMEOUT, events.create(&params, &event)).await;
        if !self.wrote(written.map(|written| written.map(drop))) {
            ledger.forget(&complaint);
        }
    }

    async fn count_up(&mut self, client: &Client, series: &Series) {
        let events: Api<Event> = Api::namespaced(client.clone(), &series.namespace);
        let last = MicroTime(Timestamp::now());
        let patch = json!({"series": {"count": series.count, "lastObservedTime": last}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let patched = timeout(WRITE_TIMEOUT, events.patch(&series.name, &params, &patch)).await;
        self.wrote(patched.map(|patched| patched.map(drop)));
    }

    /// Counts how it went, and says once that it did not.
    fn wrote<T>(&mut self, written: Result<Result<(), kube::Error>, T>) -> bool {
        let error = match written {
            Ok(Ok(())) => {
                self.metrics.wrote();
                self.said_refused = false;
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {WRITE_TIMEOUT:?}"),
        };
        self.metrics.dropped();
        if !std::mem::replace(&mut self.said_refused, true) {
            tracing::warn!(
                error,
                "could not write an Event; the warnings are in the answers and in this log"
            );
        }
        false
    }

    fn event(&self, complaint: &Complaint, name: String, now: Timestamp) -> Event {
        let regarding = &complaint.regarding;
        let text = |text: &str| Some(text.to_owned());
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: text(&regarding.namespace),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: text("Warning"),
            reason: text(complaint.reason),
            action: text(ACTION),
            note: text(&complaint.note),
            regarding: Some(ObjectReference {
                api_version: text(&regarding.api_version),
                kind: text(&regarding.kind),
                name: text(&regarding.name),
                namespace: text(&regarding.namespace),
                uid: regarding.uid.clone(),
                ..ObjectReference::default()
            }),
            reporting_controller: text(CONTROLLER),
            reporting_instance: text(&self.instance),
            ..Event::default()
        }
    }
}
