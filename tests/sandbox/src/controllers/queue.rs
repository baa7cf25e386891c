//! Places that want looking at: filled by watches, emptied by one function, each place once.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt::Debug,
    future::Future,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt as _;
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{WatchStreamExt as _, reflector, reflector::Store, watcher},
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, time::Instant};

/// How long to wait before trying again after the first failure; doubled for each further one.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// The longest wait between two attempts.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// Where an object is; the namespace of cluster-scoped ones is "".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Place {
    /// The place of `object`.
    pub(super) fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    /// A place in the namespace of `object`.
    pub(super) fn beside<K: Resource>(object: &K, name: &str) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: name.to_owned(),
        }
    }
}

/// Places that changed and weren't looked at since, each once: as many as there are objects at most.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: Mutex<VecDeque<Place>>,
    filled: Notify,
}

impl Queue {
    /// An empty queue.
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Has `place` looked at, soon.
    pub(super) fn report(&self, place: Place) {
        let mut due = self.due.lock();
        if !due.contains(&place) {
            due.push_back(place);
        }
        self.filled.notify_one();
    }
}

/// Watches objects, keeps them in the returned store, and reports the places that `affected` names
/// for each that appears, changes or goes. Returns once the store holds what there is.
pub(super) async fn watch<K, F>(
    api: Api<K>,
    config: watcher::Config,
    queue: &Arc<Queue>,
    affected: F,
) -> Store<K>
where
    K: Resource<DynamicType: Eq + Hash + Clone + Default>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
    F: Fn(&K) -> Vec<Place> + Send + 'static,
{
    let (store, writer) = reflector::store();
    let stream = reflector(writer, watcher(api, config))
        .default_backoff()
        .touched_objects();
    let queue = Arc::clone(queue);
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(touched) = stream.next().await {
            match touched {
                Ok(object) => affected(&object)
                    .into_iter()
                    .for_each(|place| queue.report(place)),
                Err(error) => tracing::warn!(%error, "watch interrupted"),
            }
        }
    });
    if store.wait_until_ready().await.is_err() {
        tracing::error!("a watch ended before it began");
    }
    store
}

/// Calls `look` for each place that is reported, one at a time; again after a failure, and again
/// after as long as it asks for.
pub(super) async fn run<F, R>(controller: &'static str, queue: Arc<Queue>, look: F)
where
    F: Fn(Place) -> R,
    R: Future<Output = anyhow::Result<Option<Duration>>>,
{
    let mut later: BTreeSet<(Instant, Place)> = BTreeSet::new();
    let mut failures: HashMap<Place, u32> = HashMap::new();
    loop {
        while later.first().is_some_and(|(at, _)| *at <= Instant::now()) {
            later
                .pop_first()
                .into_iter()
                .for_each(|(_, place)| queue.report(place));
        }
        let next = queue.due.lock().pop_front();
        let Some(place) = next else {
            match later.first() {
                Some((at, _)) => drop(tokio::time::timeout_at(*at, queue.filled.notified()).await),
                None => queue.filled.notified().await,
            }
            continue;
        };
        match look(place.clone()).await {
            Ok(again) => {
                failures.remove(&place);
                later.extend(again.map(|after| (Instant::now() + after, place)));
            }
            Err(error) => {
                let count = failures.entry(place.clone()).or_default();
                let after = (RETRY_AFTER * 2u32.saturating_pow(*count)).min(RETRY_AFTER_MAX);
                *count = (*count + 1).min(16);
                tracing::debug!(
                    controller,
                    ?place,
                    ?after,
                    error = format!("{error:#}"),
                    "will try again"
                );
                later.insert((Instant::now() + after, place));
            }
        }
    }
}
