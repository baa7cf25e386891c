//! What a pod needs on the node before its containers can start: a network and volumes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio_util::task::AbortOnDropHandle;

use crate::node::agent::Node;
use crate::node::network::PodNetwork;
use crate::node::volumes::{self, Source, Volumes};

/// For everything a pod's volumes are made of to come from the API.
const VOLUMES_TIMEOUT: Duration = Duration::from_secs(20);

/// A pod's place on the node.
pub(super) struct Place {
    /// The addresses the pod is reached at.
    pub(super) addrs: Vec<IpAddr>,
    /// None for a pod in the node's network.
    network: Option<PodNetwork>,
    pub(super) volumes: Arc<Volumes>,
    volumes_dir: PathBuf,
    refresh: AbortOnDropHandle<()>,
}

/// Where the pod's containers write: a directory for each.
pub(super) fn logs_dir(node: &Node, pod: &Pod) -> PathBuf {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let uid = pod.uid().unwrap_or_default();
    node.pods_dir.join(format!("{namespace}_{name}_{uid}"))
}

impl Place {
    /// Makes the pod's place.
    ///
    /// # Errors
    /// The reason and message of an event; it may be tried again, for nothing is left behind.
    pub(super) async fn prepare(
        node: &Node,
        pod: &Arc<Pod>,
    ) -> Result<Self, (&'static str, String)> {
        let uid = pod.uid().unwrap_or_default();
        let spec = pod.spec.clone().unwrap_or_default();
        let mut network = None;
        if spec.host_network != Some(true) {
            let attached = node.network.attach(&uid).await;
            let failed = |error| ("FailedCreatePodSandBox", format!("{error:#}"));
            network = Some(attached.map_err(failed)?);
        }
        let addrs = match &network {
            Some(network) => network.addrs.clone(),
            None => node.network.node_addrs().to_vec(),
        };
        let node_addrs = node.network.node_addrs().to_vec();
        let mut source = Source::new(node.client.clone(), pod.clone(), addrs.clone(), node_addrs);
        let volumes_dir = node.volumes_dir.join(&uid);
        let prepared = Volumes::prepare(&volumes_dir, &spec, &mut source);
        let why = match tokio::time::timeout(VOLUMES_TIMEOUT, prepared).await {
            Ok(Ok(volumes)) => {
                let volumes = Arc::new(volumes);
                let refreshed = Arc::clone(&volumes);
                let refresh = tokio::spawn(async move { refreshed.refresh(source).await });
                let refresh = AbortOnDropHandle::new(refresh);
                return Ok(Self {
                    addrs,
                    network,
                    volumes,
                    volumes_dir,
                    refresh,
                });
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("timed out after {VOLUMES_TIMEOUT:?}"),
        };
        if let Some(network) = &network {
            node.network.detach(network).await;
        }
        Err(("FailedMount", why))
    }

    pub(super) fn netns(&self) -> Option<PathBuf> {
        self.network.as_ref().map(PodNetwork::path)
    }

    /// Gives up all of it.
    pub(super) async fn clear(&self, node: &Node) {
        self.refresh.abort();
        volumes::remove(&self.volumes_dir);
        if let Some(network) = &self.network {
            node.network.detach(network).await;
        }
    }
}
