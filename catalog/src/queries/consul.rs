//! The shapes of Consul's answers.
//!
//! Fields that Kubernetes has nothing for are left out. Consul's node has an
//! address of its own; here it is the endpoint's, which is the only one known.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::index::state::{Destination, Endpoint, State};

/// One endpoint of one port of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instance<'a> {
    destination: &'a Destination,
    endpoint: &'a Endpoint,
    complaints: &'a [String],
    modified: u64,
}

/// The instances of a state, with the version in which it was last modified, and what
/// is wrong with their service's annotations.
pub(super) fn instances<'a>(
    state: &'a State,
    complaints: &'a [String],
    modified: u64,
) -> impl Iterator<Item = Instance<'a>> {
    let destination = &state.destination;
    state.endpoints.iter().map(move |endpoint| Instance {
        destination,
        endpoint,
        complaints,
        modified,
    })
}

/// An item of `/v1/catalog/service/:name`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CatalogItem {
    node: String,
    address: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    service_name: String,
    namespace: String,
    service_address: String,
    service_port: u16,
    service_tags: Vec<String>,
    service_meta: BTreeMap<&'static str, String>,
    service_weights: Weights,
    modify_index: u64,
}

/// An item of `/v1/health/service/:name`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthItem {
    node: Node,
    service: Service,
    checks: [Check; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    address: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    namespace: String,
    tags: Vec<String>,
    address: String,
    port: u16,
    meta: BTreeMap<&'static str, String>,
    weights: Weights,
    modify_index: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID")]
    check_id: &'static str,
    name: &'static str,
    status: &'static str,
    output: &'static str,
    #[serde(rename = "ServiceID")]
    service_id: String,
    service_name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u32,
    warning: u32,
}

impl HealthItem {
    pub(super) fn is_passing(&self) -> bool {
        self.checks.iter().all(|check| check.status == "passing")
    }
}

pub(super) fn catalog(instance: Instance<'_>) -> [CatalogItem; 1] {
    let ip = instance.endpoint.addr.ip().to_string();
    [CatalogItem {
        node: instance.endpoint.node.to_string(),
        address: ip.clone(),
        service_id: instance.id(),
        service_name: instance.destination.name.to_string(),
        namespace: instance.destination.namespace.to_string(),
        service_address: ip,
        service_port: instance.endpoint.addr.port(),
        service_tags: instance.tags(),
        service_meta: instance.meta(),
        service_weights: instance.weights(),
        modify_index: instance.modified,
    }]
}

pub(super) fn health(instance: Instance<'_>) -> HealthItem {
    let Instance {
        destination,
        endpoint,
        modified,
        ..
    } = instance;
    let ip = endpoint.addr.ip().to_string();
    let (status, output) = match (endpoint.ready, endpoint.serving, endpoint.terminating) {
        (true, _, _) => ("passing", "ready"),
        (false, true, true) => ("warning", "terminating, and serving still"),
        _ => ("critical", "not ready"),
    };
    HealthItem {
        node: Node {
            node: endpoint.node.to_string(),
            address: ip.clone(),
        },
        service: Service {
            id: instance.id(),
            service: destination.name.to_string(),
            namespace: destination.namespace.to_string(),
            tags: instance.tags(),
            address: ip,
            port: endpoint.addr.port(),
            meta: instance.meta(),
            weights: instance.weights(),
            modify_index: modified,
        },
        checks: [Check {
            check_id: "ready",
            name: "Kubernetes readiness",
            status,
            output,
            service_id: instance.id(),
            service_name: destination.name.to_string(),
        }],
    }
}

impl Instance<'_> {
    /// Names the instance as an operator would: by its pod, if it is one.
    fn id(&self) -> String {
        match &self.endpoint.workload {
            Some(workload) => {
                let port = self.endpoint.addr.port();
                format!("{}/{}:{port}", workload.namespace, workload.pod)
            }
            None => self.endpoint.addr.to_string(),
        }
    }

    fn tags(&self) -> Vec<String> {
        let name = &self.destination.port_name;
        let named = (!name.is_empty()).then(|| name.to_string());
        named.into_iter().collect()
    }

    fn meta(&self) -> BTreeMap<&'static str, String> {
        let mut meta = BTreeMap::from([
            ("protocol", self.destination.protocol_hint.to_string()),
            ("zone", self.endpoint.zone.to_string()),
            ("policy", self.destination.traffic.policy.to_string()),
            ("ignored-annotations", self.complaints.join("; ")),
        ]);
        if let Some(workload) = &self.endpoint.workload {
            meta.insert("pod", workload.pod.to_string());
            meta.insert("service-account", workload.service_account.to_string());
            meta.insert("meshed", workload.meshed.to_string());
        }
        meta.retain(|_, value| !value.is_empty());
        meta
    }

    fn weights(&self) -> Weights {
        Weights {
            passing: self.endpoint.weight,
            warning: self.endpoint.weight,
        }
    }
}
