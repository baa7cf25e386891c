//! A container's environment and command line. Variables come from values, from the pod's own fields,
//! and from the Services of its namespace; ConfigMaps and Secrets can be had as volumes.
//!
//! See <https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/>.

mod expand;

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Container;

use super::cluster::Cluster;
use super::fields::{Placed, pod_field};
use expand::expand;

/// What images set by custom, and shells fall back to.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container's variables, in the order of Kubernetes: a later one wins, and each may refer to
/// those before it and to those of the Services.
///
/// # Errors
/// A message for the pod's status, about the first variable that can't be had.
pub(crate) fn variables(
    placed: Placed<'_>,
    container: &Container,
    services: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = services.clone();
    variables.insert("PATH".to_owned(), DEFAULT_PATH.to_owned());
    if container
        .env_from
        .as_ref()
        .is_some_and(|from| !from.is_empty())
    {
        return Err("envFrom is not supported on this node; mount a volume instead".to_owned());
    }
    for var in container.env.iter().flatten() {
        let value = match &var.value_from {
            None => {
                let value = var.value.as_deref().unwrap_or_default();
                expand(value, |name| variables.get(name).cloned())
            }
            Some(from) => {
                let unsupported = || {
                    let name = &var.name;
                    format!("the source of variable {name:?} is not supported on this node")
                };
                let field = from.field_ref.as_ref().ok_or_else(unsupported)?;
                pod_field(placed, &field.field_path)?
            }
        };
        variables.insert(var.name.clone(), value);
    }
    Ok(variables)
}

/// `command` and `args` with their references to variables filled in.
pub(crate) fn command_line(
    container: &Container,
    variables: &BTreeMap<String, String>,
) -> Vec<String> {
    let words = container.command.iter().chain(&container.args).flatten();
    words
        .map(|word| expand(word, |name| variables.get(name).cloned()))
        .collect()
}

/// The variables that tell a container about Services: the API server's own everywhere, others in
/// their namespace and only if the pod wants them.
///
/// See <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>.
pub(crate) fn service_variables(
    cluster: &Cluster,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for ((ns, name), service) in &cluster.services {
        let is_api = ns == "default" && name == "kubernetes";
        let spec = service
            .spec
            .as_ref()
            .filter(|_| is_api || (links && ns == namespace));
        let addr = spec.and_then(|spec| spec.cluster_ip.as_ref()?.parse::<IpAddr>().ok());
        let port = spec.and_then(|spec| spec.ports.as_ref()?.first());
        if let (Some(addr), Some(port)) = (addr, port) {
            let name = name.to_ascii_uppercase().replace('-', "_");
            let url = match addr {
                IpAddr::V4(addr) => format!("tcp://{addr}:{}", port.port),
                IpAddr::V6(addr) => format!("tcp://[{addr}]:{}", port.port),
            };
            variables.insert(format!("{name}_SERVICE_HOST"), addr.to_string());
            variables.insert(format!("{name}_SERVICE_PORT"), port.port.to_string());
            variables.insert(format!("{name}_PORT"), url);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn made(container: Value, services: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web"}})).expect("a pod");
        let container: Container = serde_json::from_value(container).expect("a container");
        let placed = Placed {
            pod: &pod,
            addrs: &[],
            node_addrs: &[],
        };
        let variables = variables(placed, &container, services)?;
        Ok(command_line(&container, &variables))
    }

    #[test]
    fn refuses_variables_that_cannot_be_had() {
        for (container, said) in [
            (
                json!({"name": "c", "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}),
                "spec.x",
            ),
            (
                json!({"name": "c", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
                "\"X\"",
            ),
            (
                json!({"name": "c", "envFrom": [{"configMapRef": {"name": "m"}}]}),
                "envFrom",
            ),
        ] {
            let refused = made(container, &BTreeMap::new()).expect_err("not here");
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn variables_refer_to_those_before_them_and_commands_to_all() {
        let service = json!({"metadata": {"name": "my-db", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 5432}, {"port": 1}]}});
        let service = Arc::new(serde_json::from_value(service).expect("a service"));
        let cluster = Cluster::new(vec![service], Vec::new());
        assert!(service_variables(&cluster, "shop", false).is_empty());
        assert!(service_variables(&cluster, "other", true).is_empty());
        let services = service_variables(&cluster, "shop", true);
        assert_eq!(services["MY_DB_PORT"], "tcp://10.96.0.9:5432");
        let env = json!([{"name": "A", "value": "$(MY_DB_SERVICE_HOST)/$(B)"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "C", "value": "$(B)"}]);
        let container =
            json!({"name": "c", "env": env, "command": ["$(A)"], "args": ["$(C)", "$$(C)"]});
        let expected = ["10.96.0.9/$(B)", "web", "$(C)"].map(str::to_owned);
        assert_eq!(made(container, &services), Ok(expected.to_vec()));
    }
}
