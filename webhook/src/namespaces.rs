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
use tokio::time::timeout;

use crate::{
    decision::Asks,
    names,
    options::{self, Bounds},
};

mod limits;

pub use limits::bounds;

/// A namespace that has not been heard of is asked for, for so long. A pod does not
/// wait for more.
pub const ASK_TIMEOUT: Duration = Duration::from_millis(250);

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
        }
    }
}

/// What is known of the namespaces. Cheap to clone.
#[derive(Clone)]
pub struct Namespaces {
    store: Store<Meta>,
    ranges: Store<LimitRange>,
    api: Api<Meta>,
}

impl Namespaces {
    /// The namespaces of a cluster, and what follows them for as long as it is
    /// polled.
    pub fn follow(client: Client) -> (Self, impl Future<Output = ()> + use<>) {
        let api: Api<Meta> = Api::all(client.clone());
        let (store, namespaces) = reflected(api.clone(), "namespaces", shorten);
        let (ranges, limit_ranges) =
            reflected(Api::all(client), "limitranges", |range: &mut LimitRange| {
                range.metadata.managed_fields = None;
                range.metadata.annotations = None;
            });
        let following = async move {
            tokio::join!(namespaces, limit_ranges);
        };
        (Self { store, ranges, api }, following)
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
        let ranges = self.ranges.state();
        let of_it = |range: &&Arc<LimitRange>| range.metadata.namespace.as_deref() == Some(name);
        let ranges = ranges.iter().filter(of_it).map(AsRef::as_ref);
        Known {
            bounds: limits::bounds(ranges),
            ..self.itself(name).await
        }
    }

    async fn itself(&self, name: &str) -> Known {
        if let Some(known) = self.store.get(&ObjectRef::new(name)) {
            return Known::from(known.as_ref().clone());
        }
        let why = match timeout(ASK_TIMEOUT, self.api.get_opt(name)).await {
            Ok(Ok(Some(namespace))) => return namespace.into(),
            Ok(Ok(None)) => "there is no such namespace".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ASK_TIMEOUT:?}"),
        };
        tracing::warn!(
            namespace = name,
            why,
            "going on without the namespace's annotations"
        );
        Known {
            // A pod that asks by no word of Netting's is better left as it is.
            asks: Some(false),
            ..Known::default()
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
