//! Asks for all that findings are made from. What can't be asked is a fact as well.

use std::{collections::BTreeMap, fmt::Debug, time::SystemTime};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::{Api, ResourceExt as _, api::ListParams};
use netting_webhook::names::{self, WEBHOOK_SECRET as SECRET};
use serde::de::DeserializeOwned;

use super::rights;
use crate::{
    check::{self, Fact, Facts, Unknown, facts::Mesh},
    cluster::{Cluster, is_refusal},
    exit::Exit,
    installation::{
        selector,
        trial::{self, Trial},
    },
    mesh,
    sidecar::Config,
};

/// So many sidecars are asked how they are; each answer is a connection of its own.
const SIDECARS_ASKED_MAX: usize = 100;
/// In so many namespaces a pod is tried.
const NAMESPACES_TRIED_MAX: usize = 100;
/// So many trials are under way at once.
const TRIALS_MAX: usize = 8;
const ADMISSION_GROUP: &str = "admissionregistration.k8s.io/v1";

pub(in crate::commands) async fn facts(
    cluster: &Cluster,
    before_install: bool,
    namespace: Option<&str>,
) -> Facts {
    let client = cluster.client();
    let pods = list(mesh::api(cluster, namespace), "list Pods", "").await;
    let namespaces = match namespace {
        Some(name) => named(Api::<Namespace>::all(client.clone()), name).await,
        None => list(Api::all(client.clone()), "list Namespaces", "").await,
    };
    let mut sidecars = BTreeMap::new();
    let mut mesh = None;
    if !before_install {
        let namespaces: &[Namespace] = namespaces.as_deref().unwrap_or_default();
        mesh = Some(self::mesh(cluster, namespaces).await);
        let all: &[Pod] = pods.as_deref().unwrap_or_default();
        sidecars = self::sidecars(cluster, all).await;
    }
    let limit_ranges = match namespace {
        Some(name) => Api::namespaced(client.clone(), name),
        None => Api::all(client.clone()),
    };
    let limit_ranges = list(limit_ranges, "list LimitRanges", "").await;
    let resources = client.list_api_group_resources(ADMISSION_GROUP).await;
    let admission = match resources {
        Ok(list) => {
            let mut resources = list.resources.iter();
            Ok(resources.any(|one| one.name == "mutatingwebhookconfigurations"))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(unknown("list API resources", &error)),
    };
    let missing = rights::missing(cluster).await;
    Facts {
        now: SystemTime::now(),
        own_version: env!("CARGO_PKG_VERSION"),
        system_namespace: cluster.system_namespace.clone(),
        version: cluster.version.clone(),
        admission,
        missing_rights: missing.map_err(|error| Unknown {
            refused: Exit::of(&error) == Exit::CannotAsk,
            ..Unknown::new("ask for your rights", format!("{error:#}"))
        }),
        nodes: list(Api::all(client), "list Nodes", "").await,
        mesh,
        namespaces,
        limit_ranges,
        pods,
        sidecars,
    }
}

async fn mesh(cluster: &Cluster, namespaces: &[Namespace]) -> Mesh {
    let (client, namespace) = (cluster.client(), cluster.system_namespace.as_str());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = list(pods, "list Netting's own Pods", &selector()).await;
    let running = pods.iter().flatten().filter(|pod| stays(pod));
    let running: Vec<Pod> = running.cloned().collect();
    let answers = mesh::ask_all(&client, &running, mesh::INSTRUMENTS).await;
    let metrics = answers.into_iter().map(|one| {
        let answer = one.answer.map_err(|error| Unknown {
            refused: error.is_forbidden(),
            ..Unknown::new("ask how it is", error.line())
        });
        (one.pod.name_any(), answer)
    });
    let secret = secrets.get_opt(SECRET).await;
    let own: Api<Namespace> = Api::all(client.clone());
    let own = own.get_opt(namespace).await;
    Mesh {
        namespace: own.map_err(|error| unknown(&format!("get namespace {namespace}"), &error)),
        trial: tried(cluster, trial::NAMESPACE).await,
        trials: trials(cluster, namespaces).await,
        configurations: list(
            Api::all(client.clone()),
            "list MutatingWebhookConfigurations",
            "",
        )
        .await,
        deployments: list(
            Api::namespaced(client, namespace),
            "list Netting's Deployments",
            "",
        )
        .await,
        pods,
        secret: secret.map_err(|error| unknown(&format!("get Secret {SECRET}"), &error)),
        metrics: metrics.collect(),
    }
}

/// A pod on trial in each namespace that asks for sidecars, where there are any.
async fn trials(cluster: &Cluster, namespaces: &[Namespace]) -> BTreeMap<String, Fact<Trial>> {
    let asking = namespaces.iter().filter(|one| {
        let stays = one.metadata.deletion_timestamp.is_none();
        let own = [names::KUBE_SYSTEM, &cluster.system_namespace];
        stays && check::asks(one) && !own.contains(&one.name_any().as_str())
    });
    let trials = stream::iter(asking.take(NAMESPACES_TRIED_MAX)).map(|one| async {
        let name = one.name_any();
        let trial = tried(cluster, &name).await;
        (name, trial)
    });
    trials.buffer_unordered(TRIALS_MAX).collect().await
}

async fn tried(cluster: &Cluster, namespace: &str) -> Fact<Trial> {
    let trial = trial::run(cluster, namespace).await;
    trial.map_err(|error| unknown("try a pod (dry run)", &error))
}

async fn sidecars(cluster: &Cluster, pods: &[Pod]) -> BTreeMap<String, Result<Config, String>> {
    let label = names::INJECTED;
    let meshed = pods
        .iter()
        .filter(|pod| pod.labels().contains_key(label) && stays(pod));
    let asked: Vec<Pod> = meshed.take(SIDECARS_ASKED_MAX).cloned().collect();
    let answers = mesh::ask_all(&cluster.client(), &asked, "/config").await;
    let configs = answers.into_iter().map(|one| {
        let name = mesh::name_of(&one.pod);
        let config = one.answer.and_then(|text| mesh::read_config(&text));
        (name, config.map_err(|error| error.line()))
    });
    configs.collect()
}

/// Whether a pod runs, and goes on doing so. One that is ending may be gone before it has
/// answered, and after a rollout it is of the version that was.
fn stays(pod: &Pod) -> bool {
    mesh::is_running(pod) && pod.metadata.deletion_timestamp.is_none()
}

async fn list<K: Clone + DeserializeOwned + Debug>(
    api: Api<K>,
    doing: &str,
    labels: &str,
) -> Fact<Vec<K>> {
    let listed = api.list(&ListParams::default().labels(labels)).await;
    let listed = listed.map_err(|error| unknown(doing, &error))?;
    Ok(listed.items)
}

async fn named<K: Clone + DeserializeOwned + Debug>(api: Api<K>, name: &str) -> Fact<Vec<K>> {
    let found = api.get(name).await;
    let found = found.map_err(|error| unknown(&format!("get namespace {name}"), &error))?;
    Ok(vec![found])
}

fn unknown(doing: &str, error: &kube::Error) -> Unknown {
    match error {
        kube::Error::Api(status) => Unknown {
            refused: is_refusal(status.code),
            ..Unknown::new(doing, &status.message)
        },
        other => Unknown::new(doing, other),
    }
}
