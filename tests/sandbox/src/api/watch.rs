//! Watches: a stream of the changes of one kind from a version on.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{
    Cluster,
    call::Call,
    format::Format,
    object::Object as _,
    resources::Resource,
    selector::{FieldSelector, LabelSelector},
    status::Status,
    store::{Change, ChangeKind},
};

/// How long a watch lasts that doesn't say.
const TIMEOUT: Duration = Duration::from_secs(1800);
/// How often a watch that asks for bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// What a request selects of the objects of its kind.
#[derive(Debug)]
pub(crate) struct Selection {
    namespace: Option<String>,
    name: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads the path and the query of `call`.
    pub(crate) fn of(call: &Call) -> Result<Self, Status> {
        let name = &call.target.name;
        Ok(Self {
            namespace: call.target.scope().map(str::to_owned),
            name: (!name.is_empty()).then(|| name.clone()),
            labels: LabelSelector::parse(call.query.get("labelSelector"))?,
            fields: FieldSelector::parse(call.target.resource, call.query.get("fieldSelector"))?,
        })
    }

    /// Whether nothing is selected by labels or fields.
    pub(crate) fn is_of_all(&self) -> bool {
        self.labels == LabelSelector::default() && self.fields == FieldSelector::default()
    }

    /// Whether `object` is among what was asked for.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| namespace == object.namespace())
            && self
                .name
                .as_deref()
                .is_none_or(|name| name == object.name())
            && self.labels.matches(object)
            && self.fields.matches(object)
    }

    /// `change` as somebody sees it who only knows of the selected objects.
    fn event(&self, change: &Change) -> Option<(&'static str, Value)> {
        let now = change.kind != ChangeKind::Deleted && self.selects(&change.object);
        let before = change
            .previous
            .as_ref()
            .filter(|previous| self.selects(previous));
        match (before, now) {
            (None, true) => Some(("ADDED", Value::clone(&change.object))),
            (Some(_), true) => Some(("MODIFIED", Value::clone(&change.object))),
            (Some(previous), false) => {
                // Its last selected state, with the version at which it stopped being so.
                let mut object = Value::clone(previous);
                object.set("/metadata/resourceVersion", change.revision.to_string());
                Some(("DELETED", object))
            }
            (None, false) => None,
        }
    }
}

struct Watcher {
    cluster: Arc<Cluster>,
    latest: watch::Receiver<u64>,
    resource: &'static Resource,
    selection: Selection,
    format: Format,
    cursor: u64,
    pending: VecDeque<Bytes>,
    deadline: Instant,
    bookmark_at: Option<Instant>,
    ended: bool,
}

/// The events of a watch, one JSON document a line, as `call` asks for them.
pub(crate) fn events(
    cluster: &Arc<Cluster>,
    call: &Call,
) -> Result<impl Stream<Item = Bytes> + Send + use<>, Status> {
    let resource = call.target.resource;
    let bookmarks = call.query.flag("allowWatchBookmarks");
    let timeout = call
        .query
        .number("timeoutSeconds")?
        .map_or(TIMEOUT, Duration::from_secs);
    let since = call.query.number("resourceVersion")?.unwrap_or(0);
    let mut watcher = Watcher {
        latest: cluster.store.latest(),
        cluster: Arc::clone(cluster),
        resource,
        selection: Selection::of(call)?,
        format: call.format,
        cursor: since,
        pending: VecDeque::new(),
        deadline: Instant::now() + timeout,
        bookmark_at: bookmarks.then(|| Instant::now() + BOOKMARK_INTERVAL),
        ended: false,
    };
    let initial = call.query.get("sendInitialEvents");
    if initial == "true" || (since == 0 && initial != "false") {
        watcher.send_current(initial == "true");
    }
    Ok(stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((line, watcher))
    }))
}

impl Watcher {
    /// Starts with what there is, as if it had just been made.
    fn send_current(&mut self, with_end: bool) {
        let (revision, objects) = self
            .cluster
            .store
            .list(self.resource, self.selection.namespace.as_deref());
        for object in &objects {
            if self.selection.selects(object) {
                self.send("ADDED", object);
            }
        }
        self.cursor = revision;
        if with_end {
            self.send_bookmark(true);
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.latest.borrow_and_update();
            self.collect();
            if self.pending.is_empty() && !self.ended {
                self.wait().await;
            }
        }
    }

    fn collect(&mut self) {
        match self.cluster.store.changes(self.resource, self.cursor) {
            Ok((latest, changes)) => {
                for change in &changes {
                    if let Some((kind, object)) = self.selection.event(change) {
                        self.send(kind, &object);
                    }
                }
                self.cursor = self.cursor.max(latest);
            }
            Err(forgotten) => {
                let status = Status::expired(self.cursor, forgotten.oldest);
                self.pending.push_back(line("ERROR", &status.body()));
                self.ended = true;
            }
        }
    }

    async fn wait(&mut self) {
        let bookmark_at = self.bookmark_at.unwrap_or(self.deadline);
        tokio::select! {
            _ = self.latest.changed() => {}
            () = self.cluster.stopping.cancelled() => self.ended = true,
            () = tokio::time::sleep_until(self.deadline) => {
                if self.bookmark_at.is_some() {
                    self.send_bookmark(false);
                }
                self.ended = true;
            }
            () = tokio::time::sleep_until(bookmark_at), if self.bookmark_at.is_some() => {
                self.bookmark_at = Some(Instant::now() + BOOKMARK_INTERVAL);
                self.send_bookmark(false);
            }
        }
    }

    fn send(&mut self, kind: &str, object: &Value) {
        self.pending
            .push_back(line(kind, &self.format.object(object)));
    }

    fn send_bookmark(&mut self, initial_events_end: bool) {
        let mut bookmark = json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(),
            "metadata": {"resourceVersion": self.cursor.to_string(), "creationTimestamp": null}});
        if initial_events_end {
            bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.pending.push_back(line("BOOKMARK", &bookmark));
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut line = json!({"type": kind, "object": object}).to_string();
    line.push('\n');
    line.into()
}
