//! The node's object in the API, which is told again and again that the node is alive. There is no
//! lease: the status' heartbeat is enough for a node controller.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as NodeObject;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::agent::Node;

/// The kubelet's own number.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// After a heartbeat that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The kubelet this agent behaves like.
const KUBELET_VERSION: &str = "v1.36.0-netting-sandbox";

/// Registers the node and keeps it alive, for as long as it is polled.
pub(crate) async fn keep(node: Arc<Node>, logs_port: u16) {
    loop {
        let pause = match tell(&node, logs_port).await {
            Ok(()) => HEARTBEAT,
            Err(error) => {
                tracing::warn!(%error, "could not tell the API that the node is alive");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Writes the node's status, and its object first if there is none.
async fn tell(node: &Node, logs_port: u16) -> kube::Result<()> {
    let api: Api<NodeObject> = Api::all(node.client.clone());
    let metadata = json!({"name": node.name, "labels": labels(&node.name)});
    let patch = json!({"metadata": metadata, "status": status(node, logs_port)});
    let params = PatchParams::default();
    match api
        .patch_status(&node.name, &params, &Patch::Merge(&patch))
        .await
    {
        Err(kube::Error::Api(refused)) if refused.code == 404 => {
            let object = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &object).await.map(drop)
        }
        told => told.map(drop),
    }
}

fn labels(name: &str) -> Value {
    json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch(),
        "topology.kubernetes.io/region": "box", "topology.kubernetes.io/zone": "box-a"})
}

/// As Go calls it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn status(node: &Node, logs_port: u16) -> Value {
    let addrs = node.network.node_addrs().iter();
    // No Hostname: API servers prefer it by default, and nothing resolves the node's name.
    let addresses: Vec<Value> = addrs
        .map(|addr| json!({"type": "InternalIP", "address": addr}))
        .collect();
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady",
        "message": "the node agent is running",
        "lastHeartbeatTime": time(Timestamp::now()), "lastTransitionTime": time(node.started)});
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Nothing is held to it here, but schedulers count.
    let capacity = json!({"cpu": cpus.to_string(), "memory": "64Gi", "pods": "110"});
    json!({
        "addresses": addresses, "conditions": [ready], "capacity": capacity, "allocatable": capacity,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": logs_port}},
        "nodeInfo": {"architecture": arch(), "bootID": "", "machineID": "", "systemUUID": "",
            "containerRuntimeVersion": concat!("netting-sandbox://", env!("CARGO_PKG_VERSION")),
            "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": KUBELET_VERSION,
            "operatingSystem": "linux", "osImage": "Netting sandbox"},
    })
}
