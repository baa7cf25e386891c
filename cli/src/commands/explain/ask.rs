//! Asks for what explanations are made from.

use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::Deployment,
    core::v1::{LimitRange, Namespace, Node, Pod, Service},
    events::v1::Event,
};
use kube::{Api, ResourceExt as _, api::ListParams};
use netting_webhook::{
    Options, api_version,
    names::{WEBHOOK, WEBHOOK_CONFIGURATION},
};

use crate::{
    admission::options_of,
    cluster::{Asked as _, Cluster},
    queries::{Catalog, Instance},
};

/// What the reasons of Netting's own Events begin with.
const EVENT_REASONS: &str = "Netting";

/// The webhook, as far as it can be asked for.
pub(super) struct Webhook {
    pub(super) options: Options,
    pub(super) is_installed: bool,
}

/// How the webhook of this cluster decides; one without flags, if nobody may say.
pub(super) async fn webhook(cluster: &Cluster) -> Webhook {
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), &cluster.system_namespace);
    let deployment = deployments.get_opt(WEBHOOK).await.unwrap_or_default();
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(cluster.client());
    let configuration = configurations.get_opt(WEBHOOK_CONFIGURATION).await;
    let native_sidecars = native_sidecars(cluster).await;
    let options = options_of(deployment.as_ref(), native_sidecars).or_else(|error| {
        eprintln!("netting: going by the webhook's defaults: {error:#}");
        options_of(None, native_sidecars)
    });
    Webhook {
        options: options.expect("the defaults agree with each other"),
        // That it can't be asked for is no sign that it is not there.
        is_installed: !matches!(configuration, Ok(None)),
    }
}

/// Whether pods can have native sidecars, as the webhook finds it out; by the API server
/// alone, if nobody may list nodes.
async fn native_sidecars(cluster: &Cluster) -> bool {
    let release = cluster.version.release;
    let mut nodes = Vec::new();
    if api_version::depends_on_kubelets(release) {
        let all: Api<Node> = Api::all(cluster.client());
        match all.list(&ListParams::default()).await {
            Ok(listed) => nodes = listed.items,
            Err(error) => {
                eprintln!(
                    "netting: without the kubelets' versions, as nodes can't be listed: {error}"
                );
            }
        }
    }
    api_version::native_sidecars(release, &nodes)
}

pub(super) async fn namespace(cluster: &Cluster, name: &str) -> anyhow::Result<Namespace> {
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    namespaces
        .get(name)
        .await
        .asked(&format!("get Namespace {name}"))
}

/// What a namespace allows its pods; nothing is known of it, if nobody may say.
pub(super) async fn limit_ranges(cluster: &Cluster, namespace: &str) -> Vec<LimitRange> {
    let ranges: Api<LimitRange> = Api::namespaced(cluster.client(), namespace);
    match ranges.list(&ListParams::default()).await {
        Ok(listed) => listed.items,
        Err(error) => {
            eprintln!("netting: without LimitRanges, which can't be listed: {error}");
            Vec::new()
        }
    }
}

/// What Netting's Events say of a pod, or of what made it.
pub(super) async fn events(cluster: &Cluster, pod: &Pod) -> Vec<(String, String)> {
    let namespace = pod.namespace().unwrap_or_default();
    let owners = pod
        .owner_references()
        .iter()
        .map(|owner| owner.name.clone());
    let about: Vec<String> = owners.chain([pod.name_any()]).collect();
    let events: Api<Event> = Api::namespaced(cluster.client(), &namespace);
    let listed = match events.list(&ListParams::default()).await {
        Ok(listed) => listed,
        Err(error) => {
            eprintln!("netting: without Events, which can't be listed: {error}");
            return Vec::new();
        }
    };
    let told = listed.items.into_iter().filter_map(|event| {
        let regarding = event.regarding?.name?;
        let reason = event
            .reason
            .filter(|reason| reason.starts_with(EVENT_REASONS))?;
        about
            .contains(&regarding)
            .then(|| (reason, event.note.unwrap_or_default()))
    });
    told.collect()
}

/// The endpoints of a service, as the catalog has them.
pub(super) async fn instances(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> anyhow::Result<Vec<Instance>> {
    Catalog::open(cluster)
        .await?
        .endpoints(namespace, name)
        .await
}

/// How many pods a service selects; `None` without a selector, or an answer.
pub(super) async fn selected(cluster: &Cluster, service: &Service) -> Option<usize> {
    let selector = service.spec.as_ref()?.selector.as_ref()?;
    let terms: Vec<String> = selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &service.namespace()?);
    let listed = pods
        .list(&ListParams::default().labels(&terms.join(",")))
        .await;
    listed.ok().map(|listed| listed.items.len())
}
