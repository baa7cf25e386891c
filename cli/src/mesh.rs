//! The pods of the mesh, and what their admin ports answer.

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use netting_webhook::names::{ADMIN_PORT, INJECTED};

use crate::{
    cluster::{Asked as _, Cluster},
    forward::{NoAnswer, Session},
    sidecar::Config,
};

/// Where parts of Netting tell what they have measured, wherever their telemetry goes. The
/// application's own is not in it.
pub const INSTRUMENTS: &str = "/instruments";
/// The same for Prometheus, if somebody wants it: all that an older version has.
const METRICS: &str = "/metrics";
/// How many pods are asked at the same time.
const ASKED_AT_ONCE: usize = 16;

/// A pod, and what its sidecar answered.
pub struct Answered<T> {
    /// The pod.
    pub pod: Pod,
    /// Its answer, or why there is none.
    pub answer: Result<T, NoAnswer>,
}

/// The running pods with a sidecar, in one namespace or in all.
///
/// # Errors
/// If they can't be listed.
pub async fn pods(cluster: &Cluster, namespace: Option<&str>) -> anyhow::Result<Vec<Pod>> {
    let meshed = ListParams::default().labels(&format!("{INJECTED}=true"));
    let listed = api(cluster, namespace).list(&meshed).await;
    let listed = listed.asked("list Pods")?;
    Ok(listed.items.into_iter().filter(is_running).collect())
}

/// The pods of one namespace, or of all.
#[must_use]
pub fn api(cluster: &Cluster, namespace: Option<&str>) -> Api<Pod> {
    match namespace {
        Some(namespace) => Api::namespaced(cluster.client(), namespace),
        None => Api::all(cluster.client()),
    }
}

/// A pod, as `namespace/name`.
#[must_use]
pub fn name_of(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// Whether its containers run.
#[must_use]
pub fn is_running(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Running")
}

/// Asks each pod's admin port for a path, several at a time. Pods that have ended
/// meanwhile are left out. The answers come in the order of the pods' names.
pub async fn ask_all(client: &Client, pods: &[Pod], path: &str) -> Vec<Answered<String>> {
    let asked = pods.iter().map(async |pod| Answered {
        pod: pod.clone(),
        answer: ask(client, pod, path).await,
    });
    let asked = futures_util::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
    let mut answered: Vec<_> = asked.collect().await;
    answered.retain(|one| !matches!(&one.answer, Err(error) if error.is_gone()));
    answered.sort_by_key(|one| (one.pod.namespace(), one.pod.name_any()));
    answered
}

/// Asks a pod's admin port for a path.
///
/// # Errors
/// If there is no answer.
pub async fn ask(client: &Client, pod: &Pod, path: &str) -> Result<String, NoAnswer> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut session = Session::open(client, &namespace, &pod.name_any(), ADMIN_PORT).await?;
    let mut answer = session.get(path).await;
    if path == INSTRUMENTS && matches!(&answer, Err(error) if error.is_not_found()) {
        answer = session.get(METRICS).await;
    }
    let answer = answer?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}

/// What a sidecar holds.
///
/// # Errors
/// If there is no answer, or not that one.
pub async fn config(client: &Client, pod: &Pod) -> Result<Config, NoAnswer> {
    read_config(&ask(client, pod, "/config").await?)
}

/// The answer of `/config`.
///
/// # Errors
/// If it is none.
pub fn read_config(text: &str) -> Result<Config, NoAnswer> {
    serde_json::from_str(text).map_err(|error| NoAnswer::BrokeOff(error.into()))
}
