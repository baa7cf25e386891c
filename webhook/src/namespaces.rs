//! What matters of namespaces, followed rather than asked for with each pod: their
//! annotations, the Pod Security Standard that they enforce, and their LimitRanges.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{LimitRange, Namespace};
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;

use crate::{
    decision::Asks,
    names,
    options::{self, Bounds},
};

mod asking;
mod limits;

use asking::Asking;
pub use limits::bounds;

/// A namespace that has not been heard of is asked for, for so long: with the wait for
/// room before it, well within the 5 s after which the API server goes on without an
/// answer.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(2);

type Meta = PartialObjectMeta<Namespace>;

/// What is known of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its annotations of Netting, the defaults of its pods.
    pub annotations: BTreeMap<String, String>,
    /// What its label says that its pods must meet of Pod Security, if anything.
    pub pod_security: Option<String>,
    /// What its LimitRanges allow.
    pub bounds: Bounds,
    /// Whether its label asks for sidecars for its pods; `None` if nobody was asked.
    pub asks: Option<bool>,
    /// Whether the API server was asked for all of this, and didn't say.
    pub unanswered: bool,
}

impl Known {
    /// The same, for the decision about a pod in it.
    #[must_use]
    pub fn of<'a>(&'a self, name: &'a str) -> options::Namespace<'a> {
        options::Namespace {
            name,
            annotations: &self.annotations,
            pod_security: self.pod_security.as_deref(),
            bounds: Some(&self.bounds),
            asks: self.asks,
            unanswered: self.unanswered,
        }
    }
}

impl From<Meta> for Known {
    fn from(mut namespace: Meta) -> Self {
        shorten(&mut namespace);
        let metadata = namespace.metadata;
        let labels = metadata.labels.unwrap_or_default();
        let label = |key: &str| labels.get(key).map(String::as_str);
        Self {
            annotations: metadata.annotations.unwrap_or_default(),
            pod_security: label(names::POD_SECURITY).map(str::to_owned),
            bounds: Bounds::default(),
            asks: Some(label(names::INJECT).is_some_and(|value| Asks::of(value) == Asks::Yes)),
            unanswered: false,
        }
    }
}

/// What is known of the namespaces. Cheap to clone.
#[derive(Clone)]
pub struct Namespaces {
    store: Store<Meta>,
    ranges: Store<LimitRange>,
    asking: Asking,
}

impl Namespaces {
    /// The namespaces of a cluster, and what follows them for as long as it is
    /// polled.
    pub fn follow(client: Client) -> (Self, impl Future<Output = ()> + use<>) {
        let api: Api<Meta> = Api::all(client.clone());
        let (store, namespaces) = reflected(api, "namespaces", shorten);
        let every_range = Api::all(client.clone());
        let (ranges, limit_ranges) =
            reflected(every_range, "limitranges", |range: &mut LimitRange| {
                range.metadata.managed_fields = None;
                range.metadata.annotations = None;
            });
        let following = async move {
            tokio::join!(namespaces, limit_ranges);
        };
        let asking = Asking::new(client);
        let namespaces = Self {
            store,
            ranges,
            asking,
        };
        (namespaces, following)
    }

    /// Waits until all that there is has been heard of once.
    pub async fn listed(&self) {
        // An end of what follows them is one of the process too.
        let _ = tokio::join!(
            self.store.wait_until_ready(),
            self.ranges.wait_until_ready()
        );
    }

    /// What matters of a namespace. Nothing, if it is unknown and the API server does
    /// not say in time.
    pub async fn known(&self, name: &str) -> Known {
        let Some(namespace) = self.store.get(&ObjectRef::new(name)) else {
            return self.asking.about(name).await;
        };
        let ranges = self.ranges.state();
        let of_it = |range: &&Arc<LimitRange>| range.metadata.namespace.as_deref() == Some(name);
        let ranges = ranges.iter().filter(of_it).map(AsRef::as_ref);
        Known {
            bounds: limits::bounds(ranges),
            ..namespace.as_ref().clone().into()
        }
    }
}

/// All objects of a kind, shortened, as they change, and what follows them.
fn reflected<K>(
    api: Api<K>,
    resource: &'static str,
    shorten: fn(&mut K),
) -> (Store<K>, impl Future<Output = ()>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (store, writer) = reflector::store();
    let changes = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(shorten);
    let following = async move {
        let mut changes = std::pin::pin!(reflector::reflector(writer, changes));
        while let Some(change) = changes.next().await {
            if let Err(error) = change {
                tracing::warn!(
                    %error,
                    resource,
                    "could not watch what matters of namespaces, which may be out of date"
                );
            }
        }
    };
    (store, following)
}

/// Keeps what is looked at: the rest can be far bigger.
fn shorten(namespace: &mut Meta) {
    let metadata = &mut namespace.metadata;
    metadata.managed_fields = None;
    if let Some(labels) = &mut metadata.labels {
        labels.retain(|key, _| [names::POD_SECURITY, names::INJECT].contains(&key.as_str()));
    }
    metadata.owner_references = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|key, _| key.starts_with(names::DOMAIN));
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;

    use super::*;

    #[test]
    fn only_what_is_looked_at_is_kept() {
        let mut namespace = Meta::default();
        let annotations = [
            "netting.dev/log-level",
            "kubectl.kubernetes.io/last-applied",
        ];
        namespace.metadata.annotations = Some(
            annotations
                .map(|key| (key.to_owned(), "x".repeat(100)))
                .into(),
        );
        let labels = [
            ("app", "web"),
            (names::POD_SECURITY, "baseline"),
            (names::INJECT, "true"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        namespace.metadata.labels = Some(labels.into());
        shorten(&mut namespace);
        let left: Vec<_> = namespace.annotations().keys().collect();
        assert_eq!(left, ["netting.dev/log-level"]);
        let left: Vec<_> = namespace.labels().keys().collect();
        assert_eq!(left, [names::INJECT, names::POD_SECURITY]);
        let known = Known::from(namespace);
        assert_eq!(known.of("shop").pod_security, Some("baseline"));
        assert_eq!(known.of("shop").asks, Some(true));
        let unlabelled = Known::from(Meta::default());
        assert_eq!(unlabelled.of("shop").asks, Some(false));
    }
}
