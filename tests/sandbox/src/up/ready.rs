//! When a cluster is ready: its node is.

use std::path::Path;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::await_condition,
};

use super::inside::NODE;

/// Waits until the box's node says that it is ready.
pub(super) async fn node(kubeconfig: &Path) -> anyhow::Result<()> {
    let parsed = Kubeconfig::read_from(kubeconfig).context("read the kubeconfig")?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(parsed, &options);
    let client =
        Client::try_from(config.await.context("use the kubeconfig")?).context("make a client")?;
    await_condition(Api::<Node>::all(client), NODE, is_ready)
        .await
        .context("watch the node")?;
    Ok(())
}

fn is_ready(node: Option<&Node>) -> bool {
    let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
