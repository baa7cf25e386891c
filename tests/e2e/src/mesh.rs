//! Netting, installed from the manifests that users apply.

use std::path::Path;

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{GroupVersionKind, gvk::ParseGroupVersionError},
    discovery::pinned_kind,
};
use serde_json::json;

use crate::{
    apps::INJECT,
    cluster::{Cluster, IMAGE},
    observe::{self, eventually},
};

/// The system namespace.
pub const NAMESPACE: &str = "netting";

/// The control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Streams endpoints to the sidecars.
    Catalog,
    /// Injects them.
    Webhook,
}

impl Part {
    /// Name of its Deployment, and of its Service.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Catalog => "netting-catalog",
            Part::Webhook => "netting-webhook",
        }
    }
}

/// An installed mesh.
pub struct Mesh {
    client: Client,
}

impl Mesh {
    /// Applies the manifests of `k8s/base` in their order, and waits until the
    /// control plane is ready.
    ///
    /// # Errors
    /// If one is refused, or the control plane does not become ready.
    pub async fn install(cluster: &Cluster) -> anyhow::Result<Self> {
        let mesh = Self {
            client: cluster.client(),
        };
        for manifest in manifests(cluster.image())? {
            mesh.apply(manifest).await?;
        }
        for part in [Part::Catalog, Part::Webhook] {
            if cluster.has_new_node() {
                // What an earlier test left looks available until the node has looked.
                let deployments: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
                deployments.restart(part.name()).await?;
            }
            mesh.until_available(part).await?;
        }
        mesh.until_injecting().await?;
        Ok(mesh)
    }

    /// The API server passes pods by while it does not find the webhook's endpoints,
    /// which may be a moment later than its Deployment is available.
    async fn until_injecting(&self) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "default");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "netting-e2e", "labels": {INJECT: "enabled"}},
            "spec": {"containers": [{"name": "app", "image": "nothing"}]},
        }))?;
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        eventually("the webhook is asked", async || {
            Ok(observe::is_injected(&pods.create(&dry_run, &pod).await?))
        })
        .await
    }

    /// Stops a part of the control plane, and waits until its pods are gone.
    ///
    /// # Errors
    /// If the API server refuses, or they stay.
    pub async fn stop(&self, part: Part) -> anyhow::Result<()> {
        self.scale(part, 0).await?;
        eventually("the pods are gone", async || {
            Ok(self.pods(part).await?.is_empty())
        })
        .await
    }

    /// Starts it again, and waits until it is ready.
    ///
    /// # Errors
    /// If the API server refuses, or it does not become ready.
    pub async fn start(&self, part: Part) -> anyhow::Result<()> {
        self.scale(part, 1).await?;
        self.until_available(part).await?;
        match part {
            Part::Webhook => self.until_injecting().await,
            Part::Catalog => Ok(()),
        }
    }

    /// What a part's admin port says of its metrics.
    ///
    /// # Errors
    /// If it has no pod, or that does not answer.
    pub async fn metrics(&self, part: Part) -> anyhow::Result<String> {
        let pod = self.staying_pod(part).await?;
        observe::pod_get(&self.client, &pod, 15020, "metrics").await
    }

    /// Why a pod was or was not injected, as the webhook's log names it.
    ///
    /// # Errors
    /// If the webhook has no log, or none of that pod.
    pub async fn reason(&self, namespace: &str, pod: &str) -> anyhow::Result<String> {
        let webhook = self.staying_pod(Part::Webhook).await?;
        let log = observe::log(&self.client, &webhook, "webhook").await?;
        let asked = [
            format!("namespace=\"{namespace}\""),
            format!("pod=\"{pod}\""),
        ];
        let mut lines = log.lines().rev();
        let line = lines.find(|line| asked.iter().all(|field| line.contains(field)));
        let reason = line.and_then(|line| line.split("reason=\"").nth(1)?.split('"').next());
        let reason = reason.with_context(|| format!("the webhook says nothing of {pod}: {log}"))?;
        Ok(reason.to_owned())
    }

    /// The pod of a part that is not ending.
    async fn staying_pod(&self, part: Part) -> anyhow::Result<Pod> {
        let pods = self.pods(part).await?;
        let mut staying = pods
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        staying
            .next()
            .with_context(|| format!("{} has no pod", part.name()))
    }

    async fn pods(&self, part: Part) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let name = format!("app.kubernetes.io/name={}", part.name());
        Ok(pods.list(&ListParams::default().labels(&name)).await?.items)
    }

    async fn scale(&self, part: Part, replicas: u32) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        deployments
            .patch(part.name(), &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    async fn until_available(&self, part: Part) -> anyhow::Result<()> {
        observe::until_available(&self.client, NAMESPACE, part.name()).await
    }

    /// Applies one object, as `kubectl apply --server-side` does.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply(&self, manifest: serde_json::Value) -> anyhow::Result<()> {
        let object: DynamicObject = serde_json::from_value(manifest)?;
        let types = object.types.clone().context("a manifest names its kind")?;
        let kind = GroupVersionKind::try_from(&types)
            .map_err(|error: ParseGroupVersionError| anyhow::anyhow!(error))?;
        let (resource, _) = pinned_kind(&self.client, &kind).await?;
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let name = object
            .metadata
            .name
            .clone()
            .context("a manifest has a name")?;
        let params = PatchParams::apply("netting").force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("could not apply {} {name}", types.kind))?;
        Ok(())
    }
}

/// The documents of `k8s/base`, in the order of its kustomization, with this image.
fn manifests(image: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s/base");
    let read = |file: &str| {
        let path = base.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
    };
    let kustomization: serde_json::Value = serde_saphyr::from_str(&read("kustomization.yaml")?)?;
    let resources = kustomization["resources"]
        .as_array()
        .context("it lists resources")?;
    let mut manifests = Vec::new();
    for resource in resources {
        let file = resource.as_str().context("a resource is a file name")?;
        let documents: Vec<serde_json::Value> =
            serde_saphyr::from_multiple(&read(file)?.replace(IMAGE, image))
                .with_context(|| format!("{file} is no YAML"))?;
        manifests.extend(documents);
    }
    Ok(manifests)
}
