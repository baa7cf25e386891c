//! The node's object in the API, and the lease that says it's alive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    DaemonEndpoint, Node as NodeObject, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::agent::Node;
use super::fields::{cpus, memory_bytes};

/// The kubelet's own numbers.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASE_SECS: i32 = 40;
const PODS_MAX: u32 = 110;

/// The kubelet this agent behaves like.
const KUBELET_VERSION: &str = "v1.36.0-netting-sandbox";

/// Every how many heartbeats the status is written as well.
const STATUS_EVERY: u32 = 6;

/// Registers the node and keeps it alive, for as long as it is polled.
pub(crate) async fn keep(node: Arc<Node>, logs_port: u16) {
    let mut beats = tokio::time::interval(HEARTBEAT);
    let mut registered = false;
    for beat in 0_u32.. {
        beats.tick().await;
        while !registered {
            match register(&node, logs_port).await {
                Ok(()) => registered = true,
                Err(error) => {
                    tracing::warn!(%error, "could not register the node; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        let mut result = renew_lease(&node).await;
        if beat % STATUS_EVERY == 0 {
            result = result.and(write_status(&node, logs_port).await);
        }
        if let Err(error) = result {
            tracing::warn!(%error, "could not tell the API that the node is alive");
            // Somebody may have removed it.
            registered = !matches!(&error, kube::Error::Api(status) if status.code == 404);
        }
    }
}

async fn register(node: &Node, logs_port: u16) -> kube::Result<()> {
    let api: Api<NodeObject> = Api::all(node.client.clone());
    let labels = labels(&node.name);
    let object = NodeObject {
        metadata: ObjectMeta {
            name: Some(node.name.clone()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        status: Some(status(node, logs_port)),
        ..NodeObject::default()
    };
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
            api.patch(&node.name, &PatchParams::default(), &patch)
                .await
                .map(drop)
        }
        created => created.map(drop),
    }
}

async fn write_status(node: &Node, logs_port: u16) -> kube::Result<()> {
    let api: Api<NodeObject> = Api::all(node.client.clone());
    let patch = Patch::Merge(json!({"status": status(node, logs_port)}));
    api.patch_status(&node.name, &PatchParams::default(), &patch)
        .await
        .map(drop)
}

async fn renew_lease(node: &Node) -> kube::Result<()> {
    let api = lease_api(&node.client);
    let spec = LeaseSpec {
        holder_identity: Some(node.name.clone()),
        lease_duration_seconds: Some(LEASE_SECS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(json!({"spec": spec}));
    match api.patch(&node.name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let metadata = ObjectMeta {
                name: Some(node.name.clone()),
                ..ObjectMeta::default()
            };
            let lease = Lease {
                metadata,
                spec: Some(spec),
            };
            api.create(&PostParams::default(), &lease).await.map(drop)
        }
        patched => patched.map(drop),
    }
}

fn lease_api(client: &Client) -> Api<Lease> {
    Api::namespaced(client.clone(), "kube-node-lease")
}

fn labels(name: &str) -> BTreeMap<String, String> {
    [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch()),
        ("topology.kubernetes.io/region", "box"),
        ("topology.kubernetes.io/zone", "box-a"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// As Go calls it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn status(node: &Node, logs_port: u16) -> NodeStatus {
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.to_owned(),
        address,
    };
    let addrs = node.network.node_addrs().iter();
    let mut addresses: Vec<_> = addrs
        .map(|addr| address("InternalIP", addr.to_string()))
        .collect();
    addresses.push(address("Hostname", node.name.clone()));
    let capacity: BTreeMap<String, Quantity> = [
        ("cpu", cpus().to_string()),
        ("memory", format!("{}Ki", memory_bytes() / 1024)),
        ("pods", PODS_MAX.to_string()),
    ]
    .map(|(name, quantity)| (name.to_owned(), Quantity(quantity)))
    .into();
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    NodeStatus {
        addresses: Some(addresses),
        allocatable: Some(capacity.clone()),
        capacity: Some(capacity),
        conditions: Some(conditions(node)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: i32::from(logs_port),
            }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: arch().to_owned(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            container_runtime_version: format!("netting-sandbox://{}", env!("CARGO_PKG_VERSION")),
            kernel_version: read("/proc/sys/kernel/osrelease"),
            kubelet_version: KUBELET_VERSION.to_owned(),
            operating_system: "linux".to_owned(),
            os_image: "Netting sandbox".to_owned(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

fn conditions(node: &Node) -> Vec<NodeCondition> {
    let now = Time(Timestamp::now());
    let condition = |type_: &str, status: &str, reason: &str, message: &str| NodeCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(Time(node.started)),
    };
    vec![
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "enough memory",
        ),
        condition(
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "enough disk",
        ),
        condition(
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "enough process ids",
        ),
        condition("Ready", "True", "KubeletReady", "the node agent is running"),
    ]
}
