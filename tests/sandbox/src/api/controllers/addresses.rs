//! Which pods a Service stands for, and how its EndpointSlices say so: no I/O.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde_json::{Map, Value, json};

use crate::api::object::Object as _;

/// Endpoints of one family that share their ports.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// `IPv4` or `IPv6`.
    pub(super) family: String,
    /// `discovery.k8s.io/v1` `EndpointPort`s; null for a Service without endpoints.
    pub(super) ports: Value,
    /// `discovery.k8s.io/v1` `Endpoint`s in the order of the pods; null if there are none.
    pub(super) endpoints: Value,
}

/// Whether a controller looks after the Service's endpoints.
pub(super) fn is_selecting(service: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object();
    service.text("/spec/type") != "ExternalName" && selector.is_some_and(|map| !map.is_empty())
}

/// Whether `service`, which selects, selects `pod`: all its labels are the pod's, which hasn't ended.
pub(super) fn selects(service: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    let selector = service["spec"]["selector"].as_object();
    let all = selector
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    all && !matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

/// The endpoints of `service`: for each family, pods grouped by the ports they resolve to.
/// `pods` are those it selects; `zone` knows those of nodes. There is a group for each family at least.
pub(super) fn groups(
    service: &Value,
    pods: &[Arc<Value>],
    zone: impl Fn(&str) -> Option<String>,
) -> Vec<Group> {
    let mut groups = Vec::new();
    for family in service
        .items("/spec/ipFamilies")
        .iter()
        .filter_map(Value::as_str)
    {
        let mut by_ports: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
        for pod in pods {
            if let Some(ip) = address(pod, family) {
                let ports = ports(service, pod);
                let group = by_ports
                    .entry(ports.to_string())
                    .or_insert((ports, Vec::new()));
                group.1.push(endpoint(service, pod, ip, &zone));
            }
        }
        let family = family.to_owned();
        if by_ports.is_empty() {
            groups.push(Group {
                family: family.clone(),
                ports: Value::Null,
                endpoints: Value::Null,
            });
        }
        groups.extend(by_ports.into_values().map(|(ports, endpoints)| Group {
            family: family.clone(),
            ports,
            endpoints: endpoints.into(),
        }));
    }
    groups
}

fn address<'a>(pod: &'a Value, family: &str) -> Option<&'a str> {
    let mut ips = pod
        .items("/status/podIPs")
        .iter()
        .map(|one| one.text("/ip"));
    ips.find(|ip| match ip.parse() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    })
}

fn endpoint(
    service: &Value,
    pod: &Value,
    ip: &str,
    zone: impl Fn(&str) -> Option<String>,
) -> Value {
    let serving = pod.has_condition("Ready");
    let terminating = pod.is_terminating();
    let publishes_unready = service["spec"]["publishNotReadyAddresses"] == true;
    let ready = publishes_unready || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [ip],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": {"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid()},
    });
    let node = pod.text("/spec/nodeName");
    // Pods that name the Service as their subdomain have names of their own in DNS.
    let has_own_name = pod.text("/spec/subdomain") == service.name();
    for (field, value) in [
        ("nodeName", node),
        ("zone", &*zone(node).unwrap_or_default()),
        (
            "hostname",
            if has_own_name {
                pod.text("/spec/hostname")
            } else {
                ""
            },
        ),
    ] {
        if !value.is_empty() {
            endpoint[field] = value.into();
        }
    }
    endpoint
}

/// The ports that the Service's target ports are on this pod; a name that it lacks is left out.
fn ports(service: &Value, pod: &Value) -> Value {
    let ports = service.items("/spec/ports").iter().filter_map(|port| {
        let mut resolved = Map::new();
        resolved.insert("name".to_owned(), port.text("/name").into());
        resolved.insert("protocol".to_owned(), port["protocol"].clone());
        resolved.insert("port".to_owned(), target_port(port, pod)?.into());
        if let Some(protocol) = port.get("appProtocol") {
            resolved.insert("appProtocol".to_owned(), protocol.clone());
        }
        Some(Value::Object(resolved))
    });
    ports.collect()
}

fn target_port(port: &Value, pod: &Value) -> Option<i64> {
    if let Some(number) = port["targetPort"].as_i64() {
        return Some(number);
    }
    // Native sidecars may name ports too.
    let inits = pod.items("/spec/initContainers").iter();
    let sidecars = inits.filter(|container| container["restartPolicy"] == "Always");
    let containers = pod.items("/spec/containers").iter().chain(sidecars);
    let mut ports = containers.flat_map(|container| container.items("/ports"));
    ports
        .find(|one| one["name"] == port["targetPort"] && one["protocol"] == port["protocol"])
        .and_then(|one| one["containerPort"].as_i64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Value {
        json!({"metadata": {"name": "cart", "namespace": "shop"}, "spec": spec})
    }

    fn pod(name: &str, ip: &str, ready: &str) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": "cart"}},
            "spec": {"nodeName": "a", "containers": [{"ports": [{"name": "web", "containerPort": 8080, "protocol": "TCP"}]}]},
            "status": {"podIPs": [{"ip": ip}, {"ip": "fd00::1"}], "conditions": [{"type": "Ready", "status": ready}]},
        }))
    }

    #[test]
    fn selects_nothing_without_a_selector_or_behind_an_external_name() {
        assert!(!is_selecting(&service(json!({}))));
        assert!(!is_selecting(&service(json!({"selector": {}}))));
        assert!(!is_selecting(&service(
            json!({"selector": {"a": "b"}, "type": "ExternalName"})
        )));
        let cart = service(json!({"selector": {"app": "cart"}}));
        assert!(is_selecting(&cart) && selects(&cart, &pod("p", "10.0.0.1", "True")));
        let other = service(json!({"selector": {"app": "cart", "tier": "x"}}));
        assert!(!selects(&other, &pod("p", "10.0.0.1", "True")));
    }

    #[test]
    fn pods_that_name_other_ports_are_in_a_group_of_their_own() {
        let ports = json!([{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]);
        let service = service(json!({"ipFamilies": ["IPv4", "IPv6"], "ports": ports}));
        let mut other = Value::clone(&pod("b", "10.0.0.2", "False"));
        other["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090.into();
        let pods = [pod("a", "10.0.0.1", "True"), Arc::new(other)];
        let groups = groups(&service, &pods, |_| None);
        let seen: Vec<(&str, &Value, &Value)> = groups
            .iter()
            .map(|group| {
                (
                    &*group.family,
                    &group.ports[0]["port"],
                    &group.endpoints[0]["conditions"]["ready"],
                )
            })
            .collect();
        let (yes, no) = (json!(true), json!(false));
        let (first, second) = (json!(8080), json!(9090));
        let expected = [
            ("IPv4", &first, &yes),
            ("IPv4", &second, &no),
            ("IPv6", &first, &yes),
            ("IPv6", &second, &no),
        ];
        assert_eq!(seen, expected);
    }
}
