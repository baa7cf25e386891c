//! Netting, installed from the manifests that users apply.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, apps::v1::Deployment, core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
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
/// The pod that takes the webhook's connections in its place.
const IMPOSTOR: &str = "netting-e2e-impostor";

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
        mesh.remove_impostor().await?;
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
        eventually("the webhook is asked", async || {
            Ok(observe::is_injected(&self.admitted().await?))
        })
        .await
    }

    /// A pod that asks for a sidecar, as it is admitted. It is not kept.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn admitted(&self) -> anyhow::Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "default");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "netting-e2e", "labels": {INJECT: "enabled"}},
            "spec": {"containers": [{"name": "app", "image": "nothing"}]},
        }))?;
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        Ok(pods.create(&dry_run, &pod).await?)
    }

    /// Kills a part of the control plane, as if its node had gone, and keeps it away.
    ///
    /// # Errors
    /// If the API server refuses, or its pods stay.
    pub async fn kill(&self, part: Part) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        for pod in self.pods(part).await? {
            pods.delete(&pod.name_any(), &now()).await?;
        }
        // Another has been made in its place.
        self.stop(part).await
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
        self.replicate(part, 1).await?;
        match part {
            Part::Webhook => self.until_injecting().await,
            Part::Catalog => Ok(()),
        }
    }

    /// Has so many replicas of a part, and waits until all are ready.
    ///
    /// # Errors
    /// If the API server refuses, or they do not become ready.
    pub async fn replicate(&self, part: Part, replicas: u32) -> anyhow::Result<()> {
        self.scale(part, replicas).await?;
        self.until_available(part).await
    }

    /// Replaces all pods of a part, and waits until the last of the old ones has gone.
    ///
    /// # Errors
    /// If the API server refuses, or it does not come about.
    pub async fn restart(&self, part: Part) -> anyhow::Result<()> {
        let names = async || -> anyhow::Result<BTreeSet<String>> {
            let pods = self.pods(part).await?;
            Ok(pods.iter().map(ResourceExt::name_any).collect())
        };
        let old = names().await?;
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        deployments.restart(part.name()).await?;
        self.until_available(part).await?;
        eventually("the old pods are gone", async || {
            Ok(names().await?.is_disjoint(&old))
        })
        .await
    }

    /// Puts a pod in the webhook's place that takes connections and never answers, and waits
    /// until the API server waits for it.
    ///
    /// # Errors
    /// If the API server refuses, or it does not come about.
    pub async fn hang_webhook(&self, cluster: &Cluster) -> anyhow::Result<()> {
        self.stop(Part::Webhook).await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let impostor = serde_json::from_value(impostor(cluster.test_image()))?;
        pods.create(&PostParams::default(), &impostor).await?;
        let webhooks: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let webhooks = webhooks.get("netting").await?.webhooks;
        let timeouts = webhooks.iter().flatten().map(|one| one.timeout_seconds);
        let timeout = timeouts.min().flatten().context("they have a timeout")?;
        let timeout = Duration::from_secs(timeout.unsigned_abs().into());
        eventually("the API server waits for the webhook", async || {
            let begun = Instant::now();
            ensure!(!observe::is_injected(&self.admitted().await?), "by whom?");
            Ok(begun.elapsed() >= timeout)
        })
        .await
    }

    /// Takes that pod away, and starts the webhook again.
    ///
    /// # Errors
    /// If the API server refuses, or the webhook does not become ready.
    pub async fn unhang_webhook(&self) -> anyhow::Result<()> {
        self.remove_impostor().await?;
        self.start(Part::Webhook).await
    }

    async fn remove_impostor(&self) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        match pods.delete(IMPOSTOR, &now()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    /// What a part's admin port says of its own metrics.
    ///
    /// # Errors
    /// If it has no pod, or that does not answer.
    pub async fn metrics(&self, part: Part) -> anyhow::Result<String> {
        let pod = self.staying_pod(part).await?;
        observe::pod_get(&self.client, &pod, 15020, "instruments").await
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

/// Without a grace period.
fn now() -> DeleteParams {
    DeleteParams::default().grace_period(0)
}

/// A pod of the webhook's Service, which keeps to what its namespace enforces.
fn impostor(test_image: &str) -> serde_json::Value {
    let container = json!({
        "name": "hold",
        "image": test_image,
        "command": ["/netting/netting-test-app", "hold", "--port", "8443"],
        "ports": [{"name": "https", "containerPort": 8443}],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true,
            "runAsUser": 4150,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    json!({
        "metadata": {
            "name": IMPOSTOR,
            "labels": {"app.kubernetes.io/name": Part::Webhook.name()},
        },
        "spec": {"containers": [container], "enableServiceLinks": false},
    })
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
