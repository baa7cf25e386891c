//! What the catalog answers to people: its HTTP queries, asked through a port-forward
//! to one of its pods.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use netting_webhook::names::CATALOG;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cluster::{Asked as _, Cluster},
    forward::{ANSWER_TIMEOUT, NoAnswer, Session},
};

/// Where the catalog answers queries.
const PORT: u16 = 15080;
/// Carries the version of an answer.
const INDEX_HEADER: &str = "x-consul-index";

/// A catalog that can be asked.
pub struct Catalog {
    session: Session,
}

/// An answer, and the version in which it is so.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    /// What was answered.
    pub value: T,
    /// For the next question, to wait for a change.
    pub index: u64,
}

/// Names of services (`cart.shop`), each with the names of its ports.
pub type Services = BTreeMap<String, Vec<String>>;

/// One endpoint of one port of a service, as `/v1/health/service/:name` has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Instance {
    /// Where it runs.
    pub node: Node,
    /// Which service it belongs to.
    pub service: Service,
    /// Whether it is ready.
    pub checks: Vec<Check>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Node {
    /// Its name.
    pub node: String,
    /// The endpoint's.
    pub address: String,
}

/// A service, as one endpoint has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Service {
    /// `shop/cart-1:8080`, or the address.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// The port's name, if it has one.
    pub tags: Vec<String>,
    /// The endpoint's address.
    pub address: String,
    /// The endpoint's port.
    pub port: u16,
    /// Pod, zone, protocol, policy and what is wrong with annotations.
    pub meta: BTreeMap<String, String>,
}

/// Readiness.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Check {
    /// `passing`, `warning` or `critical`.
    pub status: String,
    /// The same in words.
    pub output: String,
}

impl Instance {
    /// Something that the catalog says beside address and readiness; empty if it doesn't.
    #[must_use]
    pub fn meta(&self, key: &str) -> &str {
        self.service.meta.get(key).map_or("", String::as_str)
    }

    /// The name of its port; empty if that has none.
    #[must_use]
    pub fn port_name(&self) -> &str {
        self.service.tags.first().map_or("", String::as_str)
    }

    /// Whether it is ready, in the catalog's words.
    #[must_use]
    pub fn readiness(&self) -> &str {
        self.checks
            .first()
            .map_or("", |check| check.output.as_str())
    }

    /// Whether it is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness() == "ready"
    }

    /// Whether it serves while it terminates, and so is used where none is ready.
    #[must_use]
    pub fn is_serving_still(&self) -> bool {
        self.readiness() == "terminating, and serving still"
    }
}

impl Catalog {
    /// Reaches one of the catalog's pods that is ready.
    ///
    /// # Errors
    /// If there is none, or it can't be reached.
    pub async fn open(cluster: &Cluster) -> anyhow::Result<Self> {
        let pod = ready_pod(cluster).await?;
        let client = cluster.client();
        let session = Session::open(&client, &cluster.system_namespace, &pod, PORT).await;
        let session = session.map_err(NoAnswer::into_error)?;
        Ok(Self { session })
    }

    /// All services, or those of a namespace.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn services(&mut self, namespace: Option<&str>) -> anyhow::Result<Services> {
        let query = namespace
            .map(|name| format!("?ns={name}"))
            .unwrap_or_default();
        let path = format!("/v1/catalog/services{query}");
        Ok(self.ask(&path, ANSWER_TIMEOUT).await?.value)
    }

    /// The endpoints of a service.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn endpoints(
        &mut self,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<Vec<Instance>> {
        let path = format!("/v1/health/service/{name}?ns={namespace}");
        Ok(self.ask(&path, ANSWER_TIMEOUT).await?.value)
    }

    /// Asks for a path, and waits for a version other than `index` for as long as
    /// `wait`.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn changed<T: DeserializeOwned>(
        &mut self,
        path: &str,
        index: u64,
        wait: Duration,
    ) -> anyhow::Result<Versioned<T>> {
        let and = if path.contains('?') { '&' } else { '?' };
        let seconds = wait.as_secs();
        let path = format!("{path}{and}index={index}&wait={seconds}s");
        self.ask(&path, wait + ANSWER_TIMEOUT).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        path: &str,
        within: Duration,
    ) -> anyhow::Result<Versioned<T>> {
        let answer = self
            .session
            .send(Method::GET, path, Bytes::new(), within)
            .await;
        let answer = answer.map_err(|error| {
            error
                .into_error()
                .context("the catalog did not answer the query")
        })?;
        let index = answer.headers.get(INDEX_HEADER);
        let index = index.and_then(|index| index.to_str().ok()?.parse().ok());
        Ok(Versioned {
            value: serde_json::from_slice(&answer.body)?,
            index: index.unwrap_or_default(),
        })
    }
}

async fn ready_pod(cluster: &Cluster) -> anyhow::Result<String> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &cluster.system_namespace);
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/name={CATALOG}"));
    let pods = pods.list(&ours).await.asked("list Pods")?;
    let mut ready = pods.iter().filter(|pod| is_ready(pod));
    ready.next().map(|pod| pod.name_any()).ok_or_else(|| {
        anyhow::anyhow!(
            "no pod of the catalog is ready in namespace {}; see `netting check`",
            cluster.system_namespace
        )
    })
}

/// Whether a pod is ready and not ending.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}
