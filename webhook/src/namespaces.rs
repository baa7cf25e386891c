//! The annotations of namespaces, followed rather than asked for with each pod.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio::time::timeout;

use crate::names;

/// A namespace that has not been heard of is asked for, for so long. A pod does not
/// wait for more.
pub const ASK_TIMEOUT: Duration = Duration::from_millis(250);

type Meta = PartialObjectMeta<Namespace>;

/// What is known of the namespaces. Cheap to clone.
#[derive(Clone)]
pub struct Namespaces {
    store: Store<Meta>,
    api: Api<Meta>,
}

impl Namespaces {
    /// The namespaces of a cluster, and what follows them for as long as it is
    /// polled.
    pub fn follow(client: Client) -> (Self, impl Future<Output = ()> + use<>) {
        let api: Api<Meta> = Api::all(client);
        let (store, writer) = reflector::store();
        let changes = watcher(api.clone(), watcher::Config::default())
            .default_backoff()
            .modify(shorten);
        let following = async move {
            let mut changes = std::pin::pin!(reflector::reflector(writer, changes));
            while let Some(change) = changes.next().await {
                if let Err(error) = change {
                    tracing::warn!(
                        %error,
                        "could not watch namespaces, whose annotations may be out of date"
                    );
                }
            }
        };
        (Self { store, api }, following)
    }

    /// A namespace's annotations that are about Netting. None of them, if the
    /// namespace is unknown and the API server does not say in time.
    pub async fn annotations(&self, name: &str) -> BTreeMap<String, String> {
        if let Some(known) = self.store.get(&ObjectRef::new(name)) {
            return known.annotations().clone();
        }
        let why = match timeout(ASK_TIMEOUT, self.api.get_opt(name)).await {
            Ok(Ok(Some(mut namespace))) => {
                shorten(&mut namespace);
                return namespace.metadata.annotations.unwrap_or_default();
            }
            Ok(Ok(None)) => "there is no such namespace".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ASK_TIMEOUT:?}"),
        };
        tracing::warn!(
            namespace = name,
            why,
            "going on without the namespace's annotations"
        );
        BTreeMap::new()
    }
}

/// Keeps what is looked at: other annotations can be far bigger.
fn shorten(namespace: &mut Meta) {
    let metadata = &mut namespace.metadata;
    metadata.managed_fields = None;
    metadata.labels = None;
    metadata.owner_references = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|key, _| key.starts_with(names::DOMAIN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_annotations_of_netting_are_kept() {
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
        namespace.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        shorten(&mut namespace);
        let left: Vec<_> = namespace.annotations().keys().collect();
        assert_eq!(left, ["netting.dev/log-level"]);
        assert!(namespace.labels().is_empty());
    }
}
