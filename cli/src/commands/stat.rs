//! `netting stat`: what the mesh carries, by workload.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::sleep;

use crate::{
    cluster::{self, Cluster, Scope},
    exit::Exit,
    mesh, output,
    stat::{look, rows, table},
};

const EXAMPLES: &str = "\
Examples:
  netting stat -n shop
  netting stat -A --window 30s -o wide
  netting stat -n shop -o json

Requests are those that came to the workload's own sidecars; success is all but status 5xx and
requests without an answer. Nothing but the sidecars is asked: no Prometheus is needed.";

/// Of which pods, and for how long.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to look at.
    #[command(flatten)]
    looks: TwoLooks,
}

/// Of which pods, how long between two looks at them, and how to print what came of it.
#[derive(Debug, clap::Args)]
pub(super) struct TwoLooks {
    /// Of which namespaces.
    #[command(flatten)]
    scope: Scope,

    /// How long to count
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = window)]
    window: Duration,

    /// How to print it.
    #[command(flatten)]
    pub(super) output: output::Flags,
}

impl TwoLooks {
    /// The pods to look at. Without any it says so on stderr.
    pub(super) async fn pods(&self, cluster: &Cluster) -> anyhow::Result<Vec<Pod>> {
        let namespace = self.scope.in_cluster(cluster);
        let pods = mesh::pods(cluster, namespace).await?;
        if pods.is_empty() {
            tell_of_none(namespace);
        }
        Ok(pods)
    }

    /// Lets the time between the looks pass, if there is something to look at.
    pub(super) async fn wait(&self, pods: &[Pod]) {
        if !pods.is_empty() {
            sleep(self.window).await;
        }
    }
}

impl Args {
    /// Looks twice, and prints what happened in between.
    ///
    /// # Errors
    /// If the cluster can't be asked.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let pods = self.looks.pods(&cluster).await?;
        let client = cluster.client();
        let before = look(&client, &pods).await;
        self.looks.wait(&pods).await;
        let after = look(&client, &pods).await;
        let rows = rows(&before, &after);
        self.looks.output.print(&rows, || table(&rows))?;
        let silent = !rows.is_empty() && rows.iter().all(|row| row.silent.len() == row.pods);
        for why in rows
            .iter()
            .filter(|_| silent)
            .flat_map(|row| &row.silent)
            .take(1)
        {
            eprintln!("netting: no sidecar answers: {why}");
        }
        Ok(if silent { Exit::CannotAsk } else { Exit::Fine })
    }
}

/// Says on stderr why there is nothing to see.
fn tell_of_none(namespace: Option<&str>) {
    let place = match namespace {
        Some(namespace) => format!(
            "namespace {namespace} has no running pods with a sidecar (-A for all namespaces)"
        ),
        None => "no running pod has a sidecar".to_owned(),
    };
    eprintln!("netting: {place}; `netting check` says which should have one");
}

/// A time that something can happen in.
pub(super) fn window(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(window) if !window.is_zero() => Ok(window),
        _ => Err("is no time such as 500ms, 5s or 1m".to_owned()),
    }
}
