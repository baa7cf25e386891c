//! Gets together what a container's environment is made of.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, PodSpec, Secret};
use kube::{Api, ResourceExt as _};

use super::run::Start;
use crate::node::env::{self, Sources};
use crate::node::fields::Placed;

impl Start {
    /// The container's variables.
    ///
    /// # Errors
    /// A message for the pod's status, about the first one that can't be had.
    pub(super) async fn variables(
        &self,
        spec: &PodSpec,
    ) -> Result<BTreeMap<String, String>, String> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let links = spec.enable_service_links.unwrap_or(true);
        let services = {
            let mut cluster = self.node.cluster.clone();
            let known = cluster.wait_for(Option::is_some).await;
            let known = known.map_err(|_| "the agent is ending".to_owned())?;
            let known = known.as_deref();
            known.map(|cluster| env::service_variables(cluster, &namespace, links))
        };
        let sources = self
            .sources(&namespace)
            .await
            .map_err(|error| error.to_string())?;
        let node_addrs = self.node.network.node_addrs();
        let placed = Placed {
            pod: &self.pod,
            addrs: &self.addrs,
            node_addrs,
        };
        env::variables(
            placed,
            &self.container,
            &sources,
            &services.unwrap_or_default(),
        )
    }

    async fn sources(&self, namespace: &str) -> kube::Result<Sources> {
        let (config_maps, secrets) = env::referenced(&self.container);
        let mut sources = Sources::default();
        let api: Api<ConfigMap> = Api::namespaced(self.node.client.clone(), namespace);
        for name in config_maps {
            let found = api.get_opt(name).await?;
            sources
                .config_maps
                .extend(found.map(|found| (name.to_owned(), found)));
        }
        let api: Api<Secret> = Api::namespaced(self.node.client.clone(), namespace);
        for name in secrets {
            let found = api.get_opt(name).await?;
            sources
                .secrets
                .extend(found.map(|found| (name.to_owned(), found)));
        }
        Ok(sources)
    }
}
