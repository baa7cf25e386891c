//! Looks at what became of things, through the API server alone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::LogParams,
    runtime::wait::{Condition, await_condition},
};
use tokio::time::{sleep, timeout};

/// How long anything may take that a cluster does.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at something that has no event to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Asks again and again until it is so. An error counts as not yet.
///
/// # Errors
/// If it is not so within [`PATIENCE`]; the last error is the cause.
pub async fn eventually(
    what: &str,
    is_so: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let answer = is_so().await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let waited = format!("waited {PATIENCE:?} until {what}");
            return match answer {
                Err(error) => Err(error.context(waited)),
                Ok(_) => bail!(waited),
            };
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Waits until all replicas of a Deployment's newest revision are available.
///
/// # Errors
/// If they are not within [`PATIENCE`]; says what its pods are doing.
pub async fn until_available(client: &Client, namespace: &str, name: &str) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let waiting = await_condition(deployments, name, is_available());
    match timeout(PATIENCE, waiting).await {
        Ok(waited) => {
            waited?;
            Ok(())
        }
        Err(_) => {
            let pods = states(client, namespace).await.unwrap_or_default();
            bail!("{namespace}/{name} was not available within {PATIENCE:?}; pods:\n{pods}")
        }
    }
}

fn is_available() -> impl Condition<Deployment> {
    |deployment: Option<&Deployment>| {
        let Some(deployment) = deployment else {
            return false;
        };
        let wanted = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1);
        deployment.status.as_ref().is_some_and(|status| {
            status.observed_generation == deployment.metadata.generation
                && status.updated_replicas.unwrap_or(0) == wanted
                && status.available_replicas.unwrap_or(0) == wanted
                && status.replicas.unwrap_or(0) == wanted
        })
    }
}

/// What all pods of a namespace are doing, for an error message.
async fn states(client: &Client, namespace: &str) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = pods.list(&kube::api::ListParams::default()).await?;
    let lines = pods.iter().map(|pod| {
        let status = serde_json::to_string(&pod.status).unwrap_or_default();
        format!("{} {status}", pod.name_any())
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// `GET`s a path of a port of a pod.
///
/// # Errors
/// If the pod does not answer with 2xx.
pub async fn pod_get(client: &Client, pod: &Pod, port: u16, path: &str) -> anyhow::Result<String> {
    request(client, pod, "GET", port, path).await
}

/// `PUT`s to a path of a port of a pod.
///
/// # Errors
/// If the pod does not answer with 2xx.
pub async fn pod_put(client: &Client, pod: &Pod, port: u16, path: &str) -> anyhow::Result<String> {
    request(client, pod, "PUT", port, path).await
}

async fn request(
    client: &Client,
    pod: &Pod,
    method: &str,
    port: u16,
    path: &str,
) -> anyhow::Result<String> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let uri = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/{path}");
    let request = http::Request::builder()
        .method(method)
        .uri(&uri)
        .body(Vec::new())?;
    let answer = client.request_text(request).await;
    answer.with_context(|| format!("{method} {uri}"))
}

/// The log of a pod's container so far.
///
/// # Errors
/// If there is none.
pub async fn log(client: &Client, pod: &Pod, container: &str) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let params = LogParams {
        container: Some(container.to_owned()),
        ..Default::default()
    };
    Ok(pods.logs(&pod.name_any(), &params).await?)
}

/// Names of a pod's containers and init containers.
#[must_use]
pub fn containers(pod: &Pod) -> Vec<&str> {
    let spec = pod.spec.iter();
    let all = spec.flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    });
    all.map(|container| container.name.as_str()).collect()
}

/// What a variable of a pod's container is, be it an init container.
#[must_use]
pub fn variable<'p>(pod: &'p Pod, container: &str, variable: &str) -> Option<&'p str> {
    let spec = pod.spec.as_ref()?;
    let inits = spec.init_containers.iter().flatten();
    let mut all = inits.chain(&spec.containers);
    let found = all.find(|one| one.name == container)?;
    let mut variables = found.env.iter().flatten();
    let found = variables.find(|one| one.name == variable)?;
    found.value.as_deref()
}

/// Whether a pod has been given a sidecar.
#[must_use]
pub fn is_injected(pod: &Pod) -> bool {
    let label = pod.labels().get("netting.dev/injected");
    let containers = containers(pod);
    label.is_some_and(|value| value == "true")
        && containers.contains(&"netting-init")
        && containers.contains(&"netting-sidecar")
}
