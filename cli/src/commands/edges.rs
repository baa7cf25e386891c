//! `netting edges`: who talks to whom.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tokio::time::Instant;

use crate::{
    cluster::{self, Cluster},
    commands::stat::TwoLooks,
    edges::{self, Held, Sidecar},
    exit::Exit,
    mesh, stat,
    traffic::Counted,
    workload::Workload,
};

const EXAMPLES: &str = "\
Examples:
  netting edges -n shop
  netting edges -A -o wide
  netting edges -n shop -o json

An edge is there while a client's sidecar follows the address: from its first connection until
some minutes after the last.";

/// Of which pods, and for how long.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Whose edges.
    #[command(flatten)]
    looks: TwoLooks,
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
        let (before, _) = held(&client, &pods).await;
        let begun = Instant::now();
        self.looks.wait(&pods).await;
        let (after, silent) = held(&client, &pods).await;
        for why in &silent {
            eprintln!("netting: {why}");
        }
        let edges = edges::edges(&before, &after, begun.elapsed());
        self.looks.output.print(&edges, || edges::table(&edges))?;
        let all_silent = after.is_empty() && !silent.is_empty();
        Ok(if all_silent {
            Exit::CannotAsk
        } else {
            Exit::Fine
        })
    }
}

/// What all sidecars of a namespace, or of all, hold.
pub(super) async fn held_by_all(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> anyhow::Result<Held> {
    let pods = mesh::pods(cluster, namespace).await?;
    let (held, _) = held(&cluster.client(), &pods).await;
    Ok(held)
}

/// What each sidecar holds and has counted, and why some don't say.
async fn held(client: &Client, pods: &[Pod]) -> (Held, Vec<String>) {
    let (mut held, mut silent) = (BTreeMap::new(), Vec::new());
    for one in mesh::ask_all(client, pods, "/config").await {
        let name = mesh::name_of(&one.pod);
        match one.answer.and_then(|text| mesh::read_config(&text)) {
            Ok(config) => {
                let workload = Workload::of(&one.pod);
                let counted = Counted::default();
                held.insert(
                    name,
                    Sidecar {
                        workload,
                        config,
                        counted,
                    },
                );
            }
            Err(error) => silent.push(format!("pod {name} does not answer: {}", error.line())),
        }
    }
    // What they hold is told also by those that count for somebody else.
    for (name, (_, counted)) in stat::look(client, pods).await.pods {
        if let (Some(sidecar), Ok(counted)) = (held.get_mut(&name), counted) {
            sidecar.counted = counted;
        }
    }
    (held, silent)
}
