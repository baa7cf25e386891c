//! The controllers of the box: what `kube-controller-manager` and `kube-scheduler` do, as far as
//! the mesh's tests need it. Each is an ordinary client of the API, with its own service account.
//!
//! Each controller is a `queue` of places that changed and one function that brings a place up to
//! date from what the API says now, so that nothing depends on which events were seen. What to do
//! is decided by plain functions: `addresses` for Services, `rollout` for Deployments.

mod addresses;
mod deployment;
mod endpoints;
mod garbage;
mod job;
mod mirror;
mod namespace;
mod owned;
mod queue;
mod replicaset;
mod rollout;
mod scheduler;
mod slices;

use std::collections::HashMap;

use anyhow::Context as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::task::JoinSet;

/// The manager of the fields that controllers set, as a real cluster's do.
const MANAGER: &str = "kube-controller-manager";

/// The controllers' names, which are those of their service accounts in `kube-system`.
const NAMES: &[&str] = &[
    "deployment-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "generic-garbage-collector",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "scheduler",
];

/// A client of its own for each controller.
pub struct Clients(HashMap<&'static str, Client>);

impl Clients {
    /// Connects each controller with the kubeconfig, in YAML, that `config` returns for its name.
    ///
    /// # Errors
    /// If a kubeconfig can't be used.
    pub async fn connect(config: impl Fn(&str) -> String) -> anyhow::Result<Self> {
        let mut clients = HashMap::new();
        for name in NAMES {
            let parsed =
                Kubeconfig::from_yaml(&config(name)).context("parse a controller's kubeconfig")?;
            let mut config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
                .await
                .context("use a controller's kubeconfig")?;
            let agent = http::HeaderValue::from_static("kube-controller-manager/v1.36.2");
            config.headers.push((http::header::USER_AGENT, agent));
            clients.insert(
                *name,
                Client::try_from(config).context("make a controller's client")?,
            );
        }
        Ok(Self(clients))
    }

    /// Leaves a controller out, for a cluster in which something else does its work.
    pub fn leave_out(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// Runs the controllers until the future is dropped.
pub async fn run(clients: Clients) {
    let mut running = JoinSet::new();
    for (name, client) in clients.0 {
        match name {
            "deployment-controller" => running.spawn(deployment::run(client)),
            "endpoint-controller" => running.spawn(endpoints::run(client)),
            "endpointslice-controller" => running.spawn(slices::run(client)),
            "endpointslicemirroring-controller" => running.spawn(mirror::run(client)),
            "generic-garbage-collector" => running.spawn(garbage::run(client)),
            "job-controller" => running.spawn(job::run(client)),
            "namespace-controller" => running.spawn(namespace::run(client)),
            "replicaset-controller" => running.spawn(replicaset::run(client)),
            "scheduler" => running.spawn(scheduler::run(client)),
            unknown => unreachable!("{unknown} is not in the table of names"),
        };
    }
    while let Some(ended) = running.join_next().await {
        tracing::error!(?ended, "a controller ended");
    }
}
