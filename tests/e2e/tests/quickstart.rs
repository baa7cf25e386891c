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
    eventually("the client counts answers", async || {
        let stats = observe::pod_get(&client, &load, STATS_PORT, "stats").await?;
        let stats: Value = serde_json::from_str(&stats)?;
        Ok(stats["ok"].as_u64() > Some(10) && stats["failed"] == 0)
    })
    .await?;
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

async fn pod(client: &Client, app: &str) -> anyhow::Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let labelled = ListParams::default().labels(&format!("app={app}"));
    let pods = pods.list(&labelled).await?.items;
    pods.into_iter().next().context("the app has a pod")
}
