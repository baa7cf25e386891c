//! The numbers that the demo prints.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::runtime::{WatchStreamExt as _, watcher};
use netting_e2e::{
    App, Mesh, Namespace,
    mesh::Part,
    observe::{self, PATIENCE},
};
use serde_json::Value;
use tokio::time::timeout;

pub(crate) const ADMIN_PORT: u16 = 15020;

/// The value of a series, by its whole name with labels.
pub(crate) fn series(metrics: &str, name: &str) -> Option<f64> {
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.parse().ok()
}

/// Resident memory of a pod's sidecar, in MB (10^6 bytes).
pub(crate) async fn sidecar_memory(namespace: &Namespace, pod: &Pod) -> anyhow::Result<f64> {
    let metrics = observe::pod_get(namespace.client(), pod, ADMIN_PORT, "instruments").await?;
    let bytes = series(&metrics, "process_memory_usage_bytes");
    Ok(bytes.context("the sidecar tells its memory")? / 1e6)
}

/// How long a pod's init container took, in milliseconds, as its log says.
pub(crate) async fn init_time(namespace: &Namespace, pod: &Pod) -> anyhow::Result<f64> {
    let log = observe::log(namespace.client(), pod, "netting-init").await?;
    let elapsed = log
        .split("elapsed_ms=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let elapsed = elapsed.with_context(|| format!("netting-init says how long it took: {log}"))?;
    Ok(elapsed.parse()?)
}

/// The webhook's median answer time in milliseconds: the upper bound of the
/// histogram's bucket that it is in.
pub(crate) async fn webhook_median(mesh: &Mesh) -> anyhow::Result<f64> {
    const NAME: &str = "netting_admission_duration_seconds";
    let metrics = mesh.metrics(Part::Webhook).await?;
    let count = series(&metrics, &format!("{NAME}_count")).context("the webhook has answered")?;
    let bucket = metrics.lines().find_map(|line| {
        let rest = line.strip_prefix(&format!("{NAME}_bucket{{le=\""))?;
        let (bound, below) = rest.split_once("\"} ")?;
        let below: f64 = below.parse().ok()?;
        (below * 2.0 >= count).then(|| bound.parse::<f64>().ok())?
    });
    Ok(bucket.context("the histogram has buckets")? * 1000.0)
}

/// Makes dry-run admissions of an application's pod, for the webhook to answer.
pub(crate) async fn admissions(
    namespace: &Namespace,
    app: &App,
    count: usize,
) -> anyhow::Result<()> {
    for _ in 0..count {
        namespace.dry_run(app).await?;
    }
    Ok(())
}

/// What a sidecar holds of the service `echo`, if it follows it.
pub(crate) async fn known_endpoints(
    namespace: &Namespace,
    pod: &Pod,
) -> anyhow::Result<Vec<Value>> {
    let config = observe::pod_get(namespace.client(), pod, ADMIN_PORT, "config").await?;
    let config: Value = serde_json::from_str(&config)?;
    let destinations = config["destinations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let echo = destinations
        .into_iter()
        .find(|d| d["kind"] == "service" && d["name"] == "echo");
    let endpoints = echo.and_then(|echo| echo["endpoints"].as_array().cloned());
    Ok(endpoints.unwrap_or_default())
}

fn usable(endpoints: &[Value]) -> usize {
    endpoints
        .iter()
        .filter(|e| e["ready"] == true && e["terminating"] == false)
        .count()
}

/// Waits until the service has so many ready endpoints, by its EndpointSlice, and
/// returns how long after that the sidecar knew, in milliseconds.
pub(crate) async fn until_noticed(
    namespace: &Namespace,
    pod: &Pod,
    replicas: usize,
) -> anyhow::Result<f64> {
    let slices = slice_has(namespace, replicas);
    let sidecar = sidecar_has(namespace, pod, replicas);
    let noticed = timeout(PATIENCE, async { tokio::try_join!(slices, sidecar) }).await;
    let (changed, known) = noticed.context("the sidecar never knew")??;
    Ok(known.saturating_duration_since(changed).as_secs_f64() * 1000.0)
}

async fn slice_has(namespace: &Namespace, replicas: usize) -> anyhow::Result<Instant> {
    let of_echo = watcher::Config::default().labels("kubernetes.io/service-name=echo");
    let slices = watcher(namespace.api::<EndpointSlice>(), of_echo).applied_objects();
    pin_mut!(slices);
    while let Some(slice) = slices.next().await {
        let slice = slice?;
        let ready = slice.endpoints.iter().filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true)
        });
        if slice.address_type == "IPv4" && ready.count() == replicas {
            return Ok(Instant::now());
        }
    }
    anyhow::bail!("the watch ended")
}

async fn sidecar_has(namespace: &Namespace, pod: &Pod, replicas: usize) -> anyhow::Result<Instant> {
    loop {
        if usable(&known_endpoints(namespace, pod).await?) == replicas {
            return Ok(Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
