//! Which pods a Service stands for, and how its EndpointSlices and Endpoints say so: no I/O.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use k8s_openapi::{
    api::core::v1::{Node, Pod, Service, ServicePort},
    apimachinery::pkg::{apis::meta::v1::OwnerReference, util::intstr::IntOrString},
    jiff::Timestamp,
};
use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use super::owned;

/// Written on what was brought up to date because of a pod's readiness: when that changed.
pub(super) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Endpoints of one family that share their ports.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// `IPv4` or `IPv6`.
    pub(super) family: String,
    /// `discovery.k8s.io/v1` `EndpointPort`s; null for a Service without endpoints.
    pub(super) ports: Value,
    /// `discovery.k8s.io/v1` `Endpoint`s in the order of the pods' names; null if there are none.
    pub(super) endpoints: Value,
}

/// Whether a controller looks after the Service's endpoints.
pub(super) fn is_selecting(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    let external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    !external
        && spec
            .and_then(|spec| spec.selector.as_ref())
            .is_some_and(|selector| !selector.is_empty())
}

/// Whether `service` selects `pod` by its labels.
pub(super) fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    service.namespace() == pod.namespace()
        && is_selecting(service)
        && selector.is_some_and(|selector| owned::matches(selector, pod.labels()))
}

/// The endpoints of `service`: for each family, pods grouped by the ports they resolve to.
/// `pods` are those it selects. There is at least one group for each family.
pub(super) fn groups(
    service: &Service,
    pods: &[&Pod],
    nodes: &HashMap<String, Node>,
) -> Vec<Group> {
    let families = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.clone());
    let mut groups = Vec::new();
    for family in families.unwrap_or_else(|| vec!["IPv4".to_owned()]) {
        let mut by_ports: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| !has_ended(pod)) {
            if let Some(ip) = address(pod, &family) {
                let ports = slice_ports(service, pod);
                let group = by_ports
                    .entry(ports.to_string())
                    .or_insert((ports, Vec::new()));
                group.1.push(endpoint(service, pod, &ip, nodes));
            }
        }
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

/// The `subsets` of the Service's Endpoints: only its first family, ready apart from unready, and
/// without the pods that are going away.
pub(super) fn subsets(service: &Service, pods: &[&Pod]) -> Vec<Value> {
    let spec = service.spec.as_ref();
    let family = spec.and_then(|spec| spec.ip_families.as_ref()?.first().cloned());
    let family = family.unwrap_or_else(|| "IPv4".to_owned());
    let publishes = publishes_unready(service);
    let mut by_ports: BTreeMap<String, Value> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !has_ended(pod)) {
        let is_going = pod.metadata.deletion_timestamp.is_some();
        let Some(ip) = address(pod, &family).filter(|_| publishes || !is_going) else {
            continue;
        };
        let ports = slice_ports(service, pod);
        let subset = by_ports
            .entry(ports.to_string())
            .or_insert_with(|| json!({"ports": ports}));
        let list = if publishes || is_ready(pod) {
            "addresses"
        } else {
            "notReadyAddresses"
        };
        let mut address = json!({"ip": ip, "targetRef": target(pod)});
        if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
            address["nodeName"] = node.as_str().into();
        }
        if let Some(hostname) = hostname(service, pod) {
            address["hostname"] = hostname.into();
        }
        match &mut subset[list] {
            Value::Array(addresses) => addresses.push(address),
            empty => *empty = json!([address]),
        }
    }
    by_ports.into_values().collect()
}

/// The labels of what a controller writes for `service`.
pub(super) fn labels(service: &Service, managed_by: (&str, &str)) -> Map<String, Value> {
    let own = service
        .labels()
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()));
    let mut labels: Map<String, Value> = own.collect();
    labels.remove(HEADLESS);
    labels.insert(managed_by.0.to_owned(), managed_by.1.into());
    if service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
    {
        labels.insert(HEADLESS.to_owned(), "".into());
    }
    labels
}

/// The owner of what goes when `service` goes.
pub(super) fn owner(service: &Service) -> OwnerReference {
    owned::reference(service)
}

/// Remembers when the pods of each Service became ready or unready, to tell what brought a change
/// about: <https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/0752-endpointslices>.
#[derive(Debug, Default)]
pub(super) struct TriggerTimes(HashMap<String, HashMap<String, Timestamp>>);

impl TriggerTimes {
    /// The time of the oldest change since the last call, in RFC 3339; `None` if nothing that has
    /// a time changed.
    pub(super) fn advance(&mut self, service: &Service, pods: &[&Pod]) -> Option<String> {
        let now: HashMap<String, Timestamp> = pods
            .iter()
            .filter_map(|pod| Some((pod.name_any(), ready_since(pod)?)))
            .collect();
        let known = self
            .0
            .insert(service.uid().unwrap_or_default(), now.clone());
        let is_new = known.is_none();
        let known = known.unwrap_or_default();
        let changed = now
            .iter()
            .filter(|(pod, at)| known.get(*pod) != Some(at))
            .map(|(_, at)| *at);
        let created = service
            .creation_timestamp()
            .filter(|_| is_new)
            .map(|time| time.0);
        let oldest = changed.chain(created).min()?;
        Some(oldest.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

fn publishes_unready(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        == Some(true)
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether the pod's condition `Ready` holds.
pub(super) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?
        .last_transition_time
        .as_ref()
        .map(|time| time.0)
}

fn ready_condition(pod: &Pod) -> Option<&k8s_openapi::api::core::v1::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

fn address(pod: &Pod, family: &str) -> Option<String> {
    let ips = pod.status.as_ref()?.pod_ips.as_ref()?;
    let fits = |ip: &&str| match ip.parse() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    };
    ips.iter()
        .map(|one| one.ip.as_str())
        .find(fits)
        .map(str::to_owned)
}

fn target(pod: &Pod) -> Value {
    json!({"kind": "Pod", "namespace": pod.namespace(), "name": pod.name_any(), "uid": pod.uid()})
}

/// Pods that name the Service as their subdomain have names of their own in DNS.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let is_its_own = spec.subdomain.as_deref() == Some(&*service.name_any());
    spec.hostname.clone().filter(|_| is_its_own)
}

fn endpoint(service: &Service, pod: &Pod, ip: &str, nodes: &HashMap<String, Node>) -> Value {
    let serving = is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let ready = publishes_unready(service) || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [ip],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": target(pod),
    });
    if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
        endpoint["nodeName"] = node.as_str().into();
        let zone = nodes
            .get(node)
            .and_then(|node| node.labels().get("topology.kubernetes.io/zone"));
        if let Some(zone) = zone {
            endpoint["zone"] = zone.as_str().into();
        }
    }
    if let Some(hostname) = hostname(service, pod) {
        endpoint["hostname"] = hostname.into();
    }
    endpoint
}

/// The ports that the Service's target ports are on this pod; a name that it lacks is left out.
fn slice_ports(service: &Service, pod: &Pod) -> Value {
    let ports = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_ref())
        .into_iter()
        .flatten();
    let ports = ports.filter_map(|port| {
        let mut resolved = json!({
            "name": port.name.as_deref().unwrap_or(""),
            "protocol": protocol(port),
            "port": target_port(port, pod)?,
        });
        if let Some(protocol) = &port.app_protocol {
            resolved["appProtocol"] = protocol.as_str().into();
        }
        Some(resolved)
    });
    ports.collect::<Vec<_>>().into()
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    // Native sidecars may name ports too.
    let inits = spec.init_containers.iter().flatten();
    let sidecars = inits.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|one| {
            one.name.as_deref() == Some(name)
                && one.protocol.as_deref().unwrap_or("TCP") == protocol(port)
        })
        .map(|one| one.container_port)
}

#[cfg(test)]
mod tests;
