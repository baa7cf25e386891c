//! What `hack/quickstart.sh` deploys and asks, where there is no kind.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use netting_e2e::{
    Cluster, Mesh,
    apps::STATS_PORT,
    cluster::TEST_IMAGE,
    observe::{self, eventually, is_injected},
};
use serde_json::Value;

const NAMESPACE: &str = "netting-demo";

#[tokio::test]
async fn the_demo_of_the_quickstart_shows_traffic_and_metrics() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let mesh = Mesh::install(&cluster).await?;
    let manifest = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../hack/quickstart/demo.yaml"
    );
    let text = std::fs::read_to_string(Path::new(manifest))?;
    ensure!(text.contains(TEST_IMAGE), "{manifest} names the image");
    let text = text.replace(TEST_IMAGE, cluster.test_image());
    for object in serde_saphyr::from_multiple::<Value>(&text)? {
        mesh.apply(object).await?;
    }
    let client = cluster.client();
    for app in ["echo", "load"] {
        observe::until_available(&client, NAMESPACE, app).await?;
    }
    let load = pod(&client, "load").await?;
    if !is_injected(&load) {
        let name = load.name_any();
        bail!(
            "{name} is not injected: {}",
            mesh.reason(NAMESPACE, &name).await?
        );
    }
    // It may have begun to ask before there was anybody to answer.
    let begun = until_answered(&client, &load, 10).await?;
    let more = begun["ok"].as_u64().unwrap_or_default() + 10;
    let later = until_answered(&client, &load, more).await?;
    ensure!(later["failed"] == begun["failed"], "{later:#}");
    // What the script greps for.
    let metrics = observe::pod_get(&client, &load, 15020, "metrics").await?;
    let http = metrics.lines().filter(|line| line.starts_with("http_"));
    ensure!(http.count() > 0, "{metrics}");
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces
        .delete(NAMESPACE, &DeleteParams::default())
        .await?;
    Ok(())
}

/// Waits until so many of the client's requests were answered, and returns its counts.
async fn until_answered(client: &Client, load: &Pod, requests: u64) -> anyhow::Result<Value> {
    let stats = async || -> anyhow::Result<Value> {
        let stats = observe::pod_get(client, load, STATS_PORT, "stats").await?;
        Ok(serde_json::from_str(&stats)?)
    };
    eventually("the client counts answers", async || {
        Ok(stats().await?["ok"].as_u64() >= Some(requests))
    })
    .await?;
    stats().await
}

async fn pod(client: &Client, app: &str) -> anyhow::Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let labelled = ListParams::default().labels(&format!("app={app}"));
    let pods = pods.list(&labelled).await?.items;
    pods.into_iter().next().context("the app has a pod")
}
