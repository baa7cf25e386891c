//! The Services and EndpointSlices of the cluster, as routing and names need them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

/// The label by which a slice belongs to a Service of its namespace.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Namespace and name.
pub(crate) type Key = (String, String);

/// One state of the cluster's Services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) services: BTreeMap<Key, Arc<Service>>,
    /// By the Service that they belong to.
    pub(crate) slices: BTreeMap<Key, Vec<Arc<EndpointSlice>>>,
}

/// The newest state; `None` until both kinds have been listed.
pub(crate) type ClusterView = watch::Receiver<Option<Arc<Cluster>>>;

impl Cluster {
    /// The state that these objects make.
    pub(crate) fn new(services: Vec<Arc<Service>>, slices: Vec<Arc<EndpointSlice>>) -> Self {
        let mut cluster = Self::default();
        for service in services {
            let key = (service.namespace().unwrap_or_default(), service.name_any());
            cluster.services.insert(key, service);
        }
        for slice in slices {
            if let Some(service) = slice.labels().get(SERVICE_NAME_LABEL) {
                let key = (slice.namespace().unwrap_or_default(), service.clone());
                cluster.slices.entry(key).or_default().push(slice);
            }
        }
        cluster
    }

    /// The slices of a Service.
    pub(crate) fn slices_of(&self, service: &Key) -> impl Iterator<Item = &EndpointSlice> {
        self.slices
            .get(service)
            .into_iter()
            .flatten()
            .map(Arc::as_ref)
    }
}

/// Unknown counts as ready, as the API's documentation of the field says.
pub(crate) fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

/// An endpoint that is going away but still answers: taken when there are no ready ones.
pub(crate) fn is_serving_while_terminating(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|conditions| {
        conditions.serving == Some(true) && conditions.terminating == Some(true)
    })
}

/// Follows the cluster until `view`'s receivers are gone.
pub(crate) async fn follow(client: Client, view: watch::Sender<Option<Arc<Cluster>>>) {
    let (services, service_writer) = reflector::store();
    let (slices, slice_writer) = reflector::store();
    let config = watcher::Config::default;
    let service_events = watcher(Api::all(client.clone()), config()).default_backoff();
    let slice_events = watcher(Api::all(client), config()).default_backoff();
    let mut service_events = pin!(reflector(service_writer, service_events));
    let mut slice_events = pin!(reflector(slice_writer, slice_events));
    let mut listed = (false, false);
    while !view.is_closed() {
        let error = tokio::select! {
            Some(event) = service_events.next() => {
                listed.0 |= matches!(event, Ok(watcher::Event::InitDone));
                event.err()
            }
            Some(event) = slice_events.next() => {
                listed.1 |= matches!(event, Ok(watcher::Event::InitDone));
                event.err()
            }
            else => return,
        };
        if let Some(error) = error {
            tracing::warn!(%error, "watching services failed; trying again");
        } else if listed == (true, true) {
            let cluster = Cluster::new(services.state(), slices.state());
            view.send_replace(Some(Arc::new(cluster)));
        }
    }
}
