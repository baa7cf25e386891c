//! The variables that tell a container about the Services of its namespace.
//!
//! See <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;

use crate::node::cluster::Cluster;

/// The API server's own Service is announced everywhere, others in their namespace and only if the
/// pod wants them.
pub(crate) fn service_variables(
    cluster: &Cluster,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for ((ns, name), service) in &cluster.services {
        let is_api = ns == "default" && name == "kubernetes";
        if is_api || (links && ns == namespace) {
            describe(service, &mut variables);
        }
    }
    variables
}

fn describe(service: &Service, variables: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let addr = spec
        .cluster_ip
        .as_deref()
        .and_then(|addr| addr.parse::<IpAddr>().ok());
    let (Some(addr), Some(ports)) = (addr, spec.ports.as_deref()) else {
        return;
    };
    let Some(first) = ports.first() else { return };
    let name = shouted(&service.name_any());
    let mut set = |key: String, value: String| variables.insert(format!("{name}_{key}"), value);
    set("SERVICE_HOST".to_owned(), addr.to_string());
    set("SERVICE_PORT".to_owned(), first.port.to_string());
    let url = |protocol: &str, port: i32| match addr {
        IpAddr::V4(addr) => format!("{protocol}://{addr}:{port}"),
        IpAddr::V6(addr) => format!("{protocol}://[{addr}]:{port}"),
    };
    for (index, port) in ports.iter().enumerate() {
        let protocol = port
            .protocol
            .as_deref()
            .unwrap_or("TCP")
            .to_ascii_lowercase();
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            set(
                format!("SERVICE_PORT_{}", shouted(name)),
                port.port.to_string(),
            );
        }
        if index == 0 {
            set("PORT".to_owned(), url(&protocol, port.port));
        }
        let prefix = format!("PORT_{}_{}", port.port, protocol.to_ascii_uppercase());
        set(prefix.clone(), url(&protocol, port.port));
        set(format!("{prefix}_PROTO"), protocol);
        set(format!("{prefix}_PORT"), port.port.to_string());
        set(format!("{prefix}_ADDR"), addr.to_string());
    }
}

fn shouted(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}
