//! The objects, in memory, with the versions and the history that watches need.
//!
//! One counter numbers every change (`resourceVersion`). The last changes are kept, so that a watch
//! is a cursor into them: a slow watcher costs nothing, and one that fell too far behind is told so.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::{object::Object as _, resources::Resource};

/// Where an object is: its kind, namespace ("" for cluster-scoped ones) and name.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Why an object was not written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("an object of that name exists")]
    Exists,
    #[error("there is no object of that name")]
    Missing,
    #[error("the object has another version by now")]
    Stale,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One change in the history.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) kind: ChangeKind,
    pub(crate) object: Arc<Value>,
    /// The object as it was, if there was one.
    pub(crate) previous: Option<Arc<Value>>,
    resource: (&'static str, &'static str),
}

/// The history doesn't reach back that far.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes before revision {oldest} are forgotten")]
pub(crate) struct Forgotten {
    pub(crate) oldest: u64,
}

type Table = BTreeMap<(String, String), Arc<Value>>;

struct State {
    revision: u64,
    tables: HashMap<(&'static str, &'static str), Table>,
    history: VecDeque<Change>,
}

/// The one owner of all objects.
pub(crate) struct Store {
    state: Mutex<State>,
    latest: watch::Sender<u64>,
    history_capacity: usize,
}

impl Store {
    /// An empty store that remembers the last `history_capacity` changes.
    pub(crate) fn new(history_capacity: usize) -> Self {
        let state = State {
            revision: 1,
            tables: HashMap::new(),
            history: VecDeque::new(),
        };
        Self {
            state: Mutex::new(state),
            latest: watch::Sender::new(1),
            history_capacity,
        }
    }

    /// The number of the last change, now and from now on.
    pub(crate) fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The object at `key`.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        let state = self.state.lock();
        state
            .tables
            .get(&key.resource.id())?
            .get(&key.place())
            .cloned()
    }

    /// All objects of a kind in order of namespace and name, in one namespace or (`None`) in all,
    /// with the revision at which this was so.
    pub(crate) fn list(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
    ) -> (u64, Vec<Arc<Value>>) {
        let state = self.state.lock();
        let objects = state.tables.get(&resource.id()).into_iter().flatten();
        (state.revision, within(namespace, objects))
    }

    /// The same as it was at an earlier revision: what has happened since is taken back.
    pub(crate) fn list_at(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<Arc<Value>>, Forgotten> {
        let state = self.state.lock();
        state.remembers(revision)?;
        let mut table = state
            .tables
            .get(&resource.id())
            .cloned()
            .unwrap_or_default();
        let since = state.history.iter().rev();
        let since = since.take_while(|change| change.revision > revision);
        for change in since.filter(|change| change.resource == resource.id()) {
            let place = Key::of(resource, &change.object).place();
            match &change.previous {
                Some(previous) => table.insert(place, Arc::clone(previous)),
                None => table.remove(&place),
            };
        }
        Ok(within(namespace, &table))
    }

    /// Adds an object, and returns it with its version.
    pub(crate) fn create(&self, key: &Key, object: Value) -> Result<Arc<Value>, Refused> {
        let mut state = self.state.lock();
        if state.table(key).contains_key(&key.place()) {
            return Err(Refused::Exists);
        }
        Ok(self.record(&mut state, key, ChangeKind::Added, object, None))
    }

    /// Puts `object` in the place of the one that still has the version `seen`.
    /// What doesn't differ from it is not a change.
    pub(crate) fn replace(
        &self,
        key: &Key,
        seen: &str,
        mut object: Value,
    ) -> Result<Arc<Value>, Refused> {
        let mut state = self.state.lock();
        let old = state.expect(key, seen)?;
        object.set("/metadata/resourceVersion", old.revision());
        if object == *old {
            return Ok(old);
        }
        Ok(self.record(&mut state, key, ChangeKind::Modified, object, Some(old)))
    }

    /// Removes the object if it still has the version `seen`; returns its last state.
    pub(crate) fn remove(&self, key: &Key, seen: &str) -> Result<Arc<Value>, Refused> {
        let mut state = self.state.lock();
        let old = state.expect(key, seen)?;
        let last = Value::clone(&old);
        Ok(self.record(&mut state, key, ChangeKind::Deleted, last, Some(old)))
    }

    /// The changes of one kind after revision `since`, and the revision this reaches up to.
    pub(crate) fn changes(
        &self,
        resource: &'static Resource,
        since: u64,
    ) -> Result<(u64, Vec<Change>), Forgotten> {
        let state = self.state.lock();
        state.remembers(since)?;
        let from = state
            .history
            .partition_point(|change| change.revision <= since);
        let changes = state
            .history
            .range(from..)
            .filter(|change| change.resource == resource.id());
        Ok((state.revision, changes.cloned().collect()))
    }

    fn record(
        &self,
        state: &mut State,
        key: &Key,
        kind: ChangeKind,
        mut object: Value,
        previous: Option<Arc<Value>>,
    ) -> Arc<Value> {
        state.revision += 1;
        let revision = state.revision;
        object.set("/metadata/resourceVersion", revision.to_string());
        let object = Arc::new(object);
        let place = key.place();
        match kind {
            ChangeKind::Deleted => state.table(key).remove(&place),
            ChangeKind::Added | ChangeKind::Modified => {
                state.table(key).insert(place, Arc::clone(&object))
            }
        };
        let resource = key.resource.id();
        let change = Change {
            revision,
            kind,
            object: Arc::clone(&object),
            previous,
            resource,
        };
        state.history.push_back(change);
        if state.history.len() > self.history_capacity {
            state.history.pop_front();
        }
        self.latest.send_replace(revision);
        object
    }
}

impl State {
    fn table(&mut self, key: &Key) -> &mut Table {
        self.tables.entry(key.resource.id()).or_default()
    }

    /// Whether the history reaches back to the state of a revision.
    fn remembers(&self, revision: u64) -> Result<(), Forgotten> {
        // Nothing is forgotten while the history holds every change there was.
        let first = self.history.front();
        let oldest = first.map_or(self.revision, |first| first.revision - 1);
        if revision < oldest && oldest > 1 {
            return Err(Forgotten { oldest });
        }
        Ok(())
    }

    fn expect(&mut self, key: &Key, seen: &str) -> Result<Arc<Value>, Refused> {
        let old = self.table(key).get(&key.place()).ok_or(Refused::Missing)?;
        if old.revision() != seen {
            return Err(Refused::Stale);
        }
        Ok(Arc::clone(old))
    }
}

impl Key {
    /// The place of `object`, which is of the kind `resource`.
    pub(crate) fn of(resource: &'static Resource, object: &Value) -> Self {
        Self {
            resource,
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
        }
    }

    /// The place of an object by its names.
    pub(crate) fn new(resource: &'static Resource, namespace: &str, name: &str) -> Self {
        Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn place(&self) -> (String, String) {
        (self.namespace.clone(), self.name.clone())
    }
}

/// The objects of one namespace, or (`None`) of all.
fn within<'table>(
    namespace: Option<&str>,
    objects: impl IntoIterator<Item = (&'table (String, String), &'table Arc<Value>)>,
) -> Vec<Arc<Value>> {
    let objects = objects.into_iter();
    objects
        .filter(|((at, _), _)| namespace.is_none_or(|namespace| namespace == at))
        .map(|(_, object)| Arc::clone(object))
        .collect()
}

#[cfg(test)]
mod tests;
