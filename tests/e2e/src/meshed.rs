//! A meshed namespace with something in it, as most tests begin.

use std::net::SocketAddr;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::{
    App, Cluster, Mesh, Namespace,
    apps::STATS_PORT,
    observe::{self, eventually},
};

const ADMIN_PORT: u16 = 15020;

/// A cluster with Netting in it, and a namespace whose pods are injected.
pub struct Meshed {
    /// Where it runs.
    pub cluster: Cluster,
    /// The control plane.
    pub mesh: Mesh,
    /// The namespace whose pods are injected.
    pub namespace: Namespace,
}

impl Meshed {
    /// All of it, ready.
    ///
    /// # Errors
    /// If a part of it cannot be had.
    pub async fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        let mesh = Mesh::install(&cluster).await?;
        let namespace = Namespace::create(&cluster, true).await?;
        Ok(Self {
            cluster,
            mesh,
            namespace,
        })
    }

    /// Replicas of an echo server, behind the service `echo`.
    ///
    /// # Errors
    /// If it does not come about.
    pub async fn echo(&self, replicas: u32) -> anyhow::Result<Vec<Pod>> {
        self.namespace.service("echo", json!({})).await?;
        self.namespace
            .deploy(&App::echo("echo").replicas(replicas))
            .await
    }

    /// A load generator against `echo`, once its first requests have been answered.
    ///
    /// # Errors
    /// If it does not come about.
    pub async fn load(&self, rate: u32) -> anyhow::Result<Pod> {
        let url = format!("http://{}/", self.namespace.host("echo"));
        self.load_on("load", &url, rate).await
    }

    /// A load generator of this name against a URL, once its first requests have been answered.
    ///
    /// # Errors
    /// If it does not come about.
    pub async fn load_on(&self, name: &str, url: &str, rate: u32) -> anyhow::Result<Pod> {
        self.namespace.deploy(&App::load(name, url, rate)).await?;
        let load = self.namespace.one_pod(name).await?;
        self.until_more_answers(&load, 50).await?;
        Ok(load)
    }

    /// What a load generator has counted so far.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn stats(&self, load: &Pod) -> anyhow::Result<Value> {
        let stats = observe::pod_get(self.namespace.client(), load, STATS_PORT, "stats").await?;
        Ok(serde_json::from_str(&stats)?)
    }

    /// How many requests of a load generator have been answered.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn answers(&self, load: &Pod) -> anyhow::Result<u64> {
        self.stats(load).await?["ok"]
            .as_u64()
            .context("the load generator counts")
    }

    /// Waits until so many more of its requests have been answered.
    ///
    /// # Errors
    /// If they are not.
    pub async fn until_more_answers(&self, load: &Pod, more: u64) -> anyhow::Result<()> {
        let before = self.answers(load).await.unwrap_or(0);
        eventually("more requests are answered", async || {
            Ok(self.answers(load).await? >= before + more)
        })
        .await
    }

    /// How many of its requests failed, and how.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn failures(&self, load: &Pod) -> anyhow::Result<(u64, Value)> {
        let stats = self.stats(load).await?;
        let failed = stats["failed"]
            .as_u64()
            .context("the load generator counts")?;
        Ok((failed, stats["failures"].clone()))
    }

    /// What a sidecar holds.
    ///
    /// # Errors
    /// If there is no answer, or not that one.
    pub async fn config(&self, pod: &Pod) -> anyhow::Result<Value> {
        let config = observe::pod_get(self.namespace.client(), pod, ADMIN_PORT, "config").await?;
        Ok(serde_json::from_str(&config)?)
    }

    /// What a sidecar holds of the service `echo`.
    ///
    /// # Errors
    /// If there is no answer, or not that one.
    pub async fn echo_in(&self, pod: &Pod) -> anyhow::Result<Value> {
        let config = self.config(pod).await?;
        let destinations = config["destinations"].as_array().context("it lists them")?;
        let echo = destinations
            .iter()
            .find(|d| d["name"] == "echo" && d["kind"] == "service");
        echo.cloned()
            .with_context(|| format!("the sidecar does not follow echo: {config}"))
    }

    /// Waits until a sidecar knows one of these addresses from the catalog, and has sent
    /// requests for it; returns what it holds of that one.
    ///
    /// # Errors
    /// If it does not.
    pub async fn until_carried(&self, pod: &Pod, to: &[SocketAddr]) -> anyhow::Result<Value> {
        let to: Vec<_> = to.iter().map(ToString::to_string).collect();
        let carried = async || -> anyhow::Result<Option<Value>> {
            let mut config = self.config(pod).await?;
            let destinations = config["destinations"].as_array_mut();
            let mut destinations = destinations.into_iter().flatten();
            let carried = destinations.find(|destination| {
                let is_meant = to.iter().any(|address| destination["address"] == **address);
                let endpoints = destination["endpoints"].as_array().into_iter().flatten();
                let mut sent = endpoints.filter_map(|one| one["requests_total"].as_u64());
                is_meant && sent.any(|requests| requests > 0)
            });
            Ok(carried.map(Value::take))
        };
        let what = format!("the sidecar sends requests for one of {to:?}");
        eventually(&what, async || Ok(carried().await?.is_some())).await?;
        carried().await?.context("it goes on")
    }

    /// What a sidecar says of its own metrics.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn sidecar_metrics(&self, pod: &Pod) -> anyhow::Result<String> {
        observe::pod_get(self.namespace.client(), pod, ADMIN_PORT, "instruments").await
    }

    /// Fetches a URL once from a pod of its own.
    ///
    /// # Errors
    /// If there is no answer, or not that one.
    pub async fn fetch(&self, name: &str, url: &str) -> anyhow::Result<String> {
        let fetch = App::new(name, &format!("fetch {url} --tries 20 --every 250ms"));
        self.namespace.run(&fetch).await
    }

    /// Takes the namespace away.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn end(self) -> anyhow::Result<()> {
        self.namespace.delete().await
    }
}
