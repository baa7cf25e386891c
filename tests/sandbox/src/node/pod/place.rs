//! What a pod needs on the node before its containers can start: a network, volumes, directories.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::task::AbortHandle;

use crate::node::agent::Node;
use crate::node::network::PodNetwork;
use crate::node::volumes::{self, Source, Volumes};

/// For everything a pod's volumes are made of to come from the API.
const VOLUMES_TIMEOUT: Duration = Duration::from_secs(20);

/// A pod's place on the node.
#[derive(Debug)]
pub(super) struct Place {
    /// Its containers' logs.
    dir: PathBuf,
    volumes_dir: PathBuf,
    host_network: bool,
    network: Option<PodNetwork>,
    volumes: Option<Arc<Volumes>>,
    refresh: Option<AbortHandle>,
}

impl Place {
    pub(super) fn new(node: &Node, pod: &Pod) -> Self {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let uid = pod.uid().unwrap_or_default();
        let spec = pod.spec.as_ref();
        Self {
            dir: node.pods_dir.join(format!("{namespace}_{name}_{uid}")),
            volumes_dir: node.volumes_dir.join(&uid),
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
            network: None,
            volumes: None,
            refresh: None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.volumes.is_some()
    }

    pub(super) fn has_network(&self) -> bool {
        self.host_network || self.network.is_some()
    }

    /// The addresses the pod is reached at.
    pub(super) fn addrs(&self, node: &Node) -> Vec<IpAddr> {
        match &self.network {
            Some(network) => network.addrs.clone(),
            None if self.host_network => node.network.node_addrs().to_vec(),
            None => Vec::new(),
        }
    }

    pub(super) fn netns(&self) -> Option<PathBuf> {
        self.network.as_ref().map(PodNetwork::path)
    }

    /// There are some as soon as the place is ready.
    pub(super) fn volumes(&self) -> Option<Arc<Volumes>> {
        self.volumes.clone()
    }

    pub(super) fn container_dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes what is missing.
    ///
    /// # Errors
    /// The reason and message of an event; it may be tried again.
    pub(super) async fn prepare(
        &mut self,
        node: &Node,
        pod: &Arc<Pod>,
    ) -> Result<(), (&'static str, String)> {
        if !self.has_network() {
            let uid = pod.uid().unwrap_or_default();
            let network = node.network.attach(&uid).await;
            let failed = |error| ("FailedCreatePodSandBox", format!("{error:#}"));
            self.network = Some(network.map_err(failed)?);
        }
        let addrs = self.addrs(node);
        let node_addrs = node.network.node_addrs().to_vec();
        let mut source = Source::new(node.client.clone(), pod.clone(), addrs, node_addrs);
        let spec = pod.spec.clone().unwrap_or_default();
        let prepared = Volumes::prepare(&self.volumes_dir, &spec, &mut source);
        let volumes = match tokio::time::timeout(VOLUMES_TIMEOUT, prepared).await {
            Ok(Ok(volumes)) => Arc::new(volumes),
            Ok(Err(error)) => return Err(("FailedMount", format!("{error:#}"))),
            Err(_) => {
                return Err((
                    "FailedMount",
                    format!("timed out after {VOLUMES_TIMEOUT:?}"),
                ));
            }
        };
        self.volumes = Some(volumes.clone());
        let refresh = tokio::spawn(async move { volumes.refresh(source).await });
        self.refresh = Some(refresh.abort_handle());
        Ok(())
    }

    /// Gives up all but the logs. May be called again.
    pub(super) async fn clear(&mut self, node: &Node) {
        if let Some(refresh) = self.refresh.take() {
            refresh.abort();
        }
        if self.volumes.take().is_some() || self.volumes_dir.exists() {
            volumes::remove(&self.volumes_dir);
        }
        if let Some(network) = self.network.take() {
            node.network.detach(&network).await;
        }
    }

    pub(super) fn remove_dirs(&self) {
        volumes::remove(&self.dir);
    }
}
