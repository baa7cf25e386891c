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

    fn get(&self, name: &str) -> Client {
        self.0
            .get(name)
            .expect("there is a client for each name of the table")
            .clone()
    }
}

/// Runs the controllers until the future is dropped.
pub async fn run(clients: Clients) {
    let mut running = JoinSet::new();
    running.spawn(deployment::run(clients.get("deployment-controller")));
    running.spawn(endpoints::run(clients.get("endpoint-controller")));
    running.spawn(slices::run(clients.get("endpointslice-controller")));
    running.spawn(mirror::run(
        clients.get("endpointslicemirroring-controller"),
    ));
    running.spawn(garbage::run(clients.get("generic-garbage-collector")));
    running.spawn(job::run(clients.get("job-controller")));
    running.spawn(namespace::run(clients.get("namespace-controller")));
    running.spawn(replicaset::run(clients.get("replicaset-controller")));
    running.spawn(scheduler::run(clients.get("scheduler")));
    while let Some(ended) = running.join_next().await {
        tracing::error!(?ended, "a controller ended");
    }
}
