//! The Services and EndpointSlices of the cluster, as routing and names need them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::runtime::{WatchStreamExt as _, watcher, watcher::Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use tokio::sync::watch;

/// The label by which a slice belongs to a Service of its namespace.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Namespace and name.
pub(crate) type Key = (String, String);

/// One state of the cluster's Services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) services: BTreeMap<Key, Arc<Service>>,
    pub(crate) slices: BTreeMap<Key, Arc<EndpointSlice>>,
}

/// The newest state; `None` until both kinds have been listed.
pub(crate) type ClusterView = watch::Receiver<Option<Arc<Cluster>>>;

impl Cluster {
    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services
            .get(&(namespace.to_owned(), name.to_owned()))
            .map(Arc::as_ref)
    }

    /// The slices of a Service; its own name need not be a part of theirs.
    pub(crate) fn slices_of<'a>(
        &'a self,
        namespace: &'a str,
        service: &'a str,
    ) -> impl Iterator<Item = &'a EndpointSlice> {
        self.slices
            .iter()
            .filter(move |((ns, _), _)| ns == namespace)
            .map(|(_, slice)| &**slice)
            .filter(move |slice| {
                slice
                    .labels()
                    .get(SERVICE_NAME_LABEL)
                    .is_some_and(|name| name == service)
            })
    }
}

/// Unknown counts as ready, as the API's documentation of the field says.
pub(crate) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

/// An endpoint that is going away but still answers: taken when there are no ready ones.
pub(crate) fn is_serving_while_terminating(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|conditions| {
        conditions.serving.unwrap_or_else(|| is_ready(endpoint))
            && conditions.terminating.unwrap_or(false)
    })
}

/// Follows the cluster until `view`'s receivers are gone.
pub(crate) async fn follow(client: Client, view: watch::Sender<Option<Arc<Cluster>>>) {
    let config = watcher::Config::default;
    let mut service_events = pin!(watcher(Api::all(client.clone()), config()).default_backoff());
    let mut slice_events = pin!(watcher(Api::all(client), config()).default_backoff());
    let (mut services, mut slices) = (Mirror::default(), Mirror::default());
    while !view.is_closed() {
        let applied = tokio::select! {
            Some(event) = service_events.next() => event.map(|event| services.apply(event)),
            Some(event) = slice_events.next() => event.map(|event| slices.apply(event)),
            else => return,
        };
        if let Err(error) = applied {
            tracing::warn!(%error, "watching services failed; trying again");
        } else if services.listed && slices.listed {
            let cluster = Cluster {
                services: services.objects.clone(),
                slices: slices.objects.clone(),
            };
            view.send_replace(Some(Arc::new(cluster)));
        }
    }
}

/// The objects of one kind. While they are listed anew, the old ones stay.
#[derive(Debug)]
struct Mirror<K> {
    objects: BTreeMap<Key, Arc<K>>,
    incoming: BTreeMap<Key, Arc<K>>,
    listed: bool,
}

impl<K> Default for Mirror<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            incoming: BTreeMap::new(),
            listed: false,
        }
    }
}

impl<K: Resource> Mirror<K> {
    fn apply(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) => {
                self.objects.insert(key(&object), Arc::new(object));
            }
            Event::Delete(object) => {
                self.objects.remove(&key(&object));
            }
            Event::Init => self.incoming.clear(),
            Event::InitApply(object) => {
                self.incoming.insert(key(&object), Arc::new(object));
            }
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.incoming);
                self.listed = true;
            }
        }
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}
