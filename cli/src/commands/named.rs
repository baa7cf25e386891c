//! Objects by the names that people type: `web-1`, or `shop/web-1`.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use crate::{
    cluster::{Asked as _, Cluster},
    exit::Usage,
};

/// A name, and its namespace if that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The namespace.
    pub(super) namespace: String,
    /// The name.
    pub(super) name: String,
}

impl Named {
    /// Reads `shop/web-1`, or `web-1` of the namespace that is meant otherwise.
    ///
    /// # Errors
    /// [`Usage`] if it is neither, or two namespaces are said.
    pub(super) fn read(text: &str, flag: Option<&str>, cluster: &Cluster) -> Result<Self, Usage> {
        let (own, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        if name.is_empty() || name.contains('/') || own == Some("") {
            return Err(Usage(format!(
                "\"{text}\" is no name; write NAME or NAMESPACE/NAME"
            )));
        }
        if let (Some(own), Some(flag)) = (own, flag)
            && own != flag
        {
            let why = format!("\"{text}\" says namespace {own}, and --namespace says {flag}");
            return Err(Usage(why));
        }
        let namespace = own.or(flag).unwrap_or(&cluster.namespace);
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The pod of that name.
    ///
    /// # Errors
    /// If there is none, or it can't be asked for.
    pub(super) async fn pod(&self, cluster: &Cluster) -> anyhow::Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(cluster.client(), &self.namespace);
        let doing = format!("get Pod {}/{}", self.namespace, self.name);
        pods.get(&self.name).await.asked(&doing)
    }
}
