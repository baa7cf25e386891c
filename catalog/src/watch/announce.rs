//! Tells whoever looks at a Service (`kubectl describe`) what its annotations get
//! wrong, by an Event.
//!
//! Events are for people: they are sent aside, one after the other, and nothing
//! waits for them. The log has the same.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use netting_runtime::Drain;
use tokio::sync::mpsc;

use crate::objects::Key;

/// Who says so.
const REPORTER: &str = "netting-catalog";
/// Announcements that may wait to be sent; others are tried again when their Service
/// is heard of the next time.
const QUEUE: usize = 256;
/// Services of which it is remembered what was announced.
const TOLD_MAX: usize = 4096;
/// The longest note that the API server takes (its `noteLengthLimit`).
const NOTE_BYTES_MAX: usize = 1024;

/// Announces what is news.
#[derive(Debug)]
pub(super) struct Announcer {
    told: Told,
    queue: mpsc::Sender<Announcement>,
}

#[derive(Debug)]
struct Announcement {
    object: ObjectReference,
    note: String,
}

/// What was announced of each object, as a hash.
#[derive(Debug, Default)]
struct Told(HashMap<Key, u64>);

impl Announcer {
    /// Sends until the drain starts.
    pub(super) fn start(client: &Client, drain: &Drain) -> Self {
        let (queue, announcements) = mpsc::channel(QUEUE);
        let sending = send(client.clone(), announcements);
        let stopped = drain.clone();
        drain.spawn(async move {
            tokio::select! {
                () = sending => {}
                () = stopped.started() => {}
            }
        });
        let told = Told::default();
        Self { told, queue }
    }

    /// Announces complaints about an object, unless they have been.
    pub(super) fn tell(&mut self, key: &Key, object: ObjectReference, complaints: &[String]) {
        if !self.told.is_news(key, complaints) {
            return;
        }
        let note = note(complaints);
        if self.queue.try_send(Announcement { object, note }).is_err() {
            self.told.forget(key);
        }
    }

    /// The object is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.told.forget(key);
    }
}

impl Told {
    /// Whether something is to be announced; then it counts as announced.
    fn is_news(&mut self, key: &Key, complaints: &[String]) -> bool {
        if complaints.is_empty() {
            self.forget(key);
            return false;
        }
        if self.0.len() >= TOLD_MAX && !self.0.contains_key(key) {
            self.0.clear();
        }
        let mut hasher = DefaultHasher::new();
        complaints.hash(&mut hasher);
        let hash = hasher.finish();
        self.0.insert(key.clone(), hash) != Some(hash)
    }

    fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

fn note(complaints: &[String]) -> String {
    let mut note = format!("ignored {}", complaints.join("; "));
    note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
    note
}

async fn send(client: Client, mut announcements: mpsc::Receiver<Announcement>) {
    let reporter = Reporter {
        controller: REPORTER.to_owned(),
        instance: std::env::var("NETTING_POD_NAME").ok(),
    };
    while let Some(Announcement { object, note }) = announcements.recv().await {
        let event = Event {
            type_: EventType::Warning,
            reason: "AnnotationIgnored".to_owned(),
            note: Some(note),
            action: "Parse".to_owned(),
            secondary: None,
        };
        // A recorder takes events of the same reason for repetitions, whatever they
        // say. A new one remembers none.
        let recorder = Recorder::new(client.clone(), reporter.clone());
        if let Err(error) = recorder.publish(&event, &object).await {
            let (namespace, name) = (object.namespace, object.name);
            tracing::warn!(?namespace, ?name, %error, "could not create an event");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(complaint: &str) -> Vec<String> {
        vec![complaint.to_owned()]
    }

    #[test]
    fn tells_the_same_once() {
        let (cart, shelf) = (Key::new("shop", "cart"), Key::new("shop", "shelf"));
        let mut told = Told::default();
        assert!(!told.is_news(&cart, &[]));
        assert!(told.is_news(&cart, &wrong("timeout")));
        assert!(!told.is_news(&cart, &wrong("timeout")));
        assert!(told.is_news(&shelf, &wrong("timeout")));
        assert!(told.is_news(&cart, &wrong("retries")));
        assert!(!told.is_news(&cart, &[]));
        assert!(
            told.is_news(&cart, &wrong("retries")),
            "it was mended between"
        );
    }

    #[test]
    fn remembers_no_more_than_it_may() {
        let mut told = Told::default();
        for n in 0..3 * TOLD_MAX {
            assert!(told.is_news(&Key::new("shop", n.to_string()), &wrong("timeout")));
            assert!(told.0.len() <= TOLD_MAX);
        }
    }

    #[test]
    fn a_note_is_no_longer_than_the_api_server_takes() {
        let note = note(&["ü".repeat(NOTE_BYTES_MAX)]);
        assert!(note.len() <= NOTE_BYTES_MAX && note.len() > NOTE_BYTES_MAX - 2);
    }
}
