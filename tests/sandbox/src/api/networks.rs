//! Service addresses: cluster IPs of one or both families, and node ports.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde_json::{Value, json};

use super::{
    Cluster,
    object::{Object as _, random},
    resources::{self, Resource},
    status::{FieldError, Status},
};

/// Services' IPv4 addresses are in 10.96.0.0/16.
const SERVICES_V4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 0);
/// Services' IPv6 addresses are in fd00:10:96::/112.
const SERVICES_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0);
/// The first addresses are for the API itself and for DNS, which ask for them by number.
const RESERVED: u16 = 16;

/// Gives a new Service its addresses and ports.
pub(crate) fn allocate(
    cluster: &Cluster,
    resource: &'static Resource,
    object: &mut Value,
) -> Result<(), Status> {
    if resource.id() != ("", "services") {
        return Ok(());
    }
    let kind = object.text("/spec/type").to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    families(cluster, object)?;
    let headless = object.text("/spec/clusterIP") == "None";
    if headless {
        object.set("/spec/clusterIPs", json!(["None"]));
    } else {
        addresses(cluster, object)?;
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        node_ports(cluster, object);
    }
    Ok(())
}

/// An updated Service keeps the addresses it has, if it doesn't mention them.
pub(crate) fn keep(
    cluster: &Cluster,
    resource: &'static Resource,
    old: &Value,
    new: &mut Value,
) -> Result<(), Status> {
    if resource.id() != ("", "services") || new.text("/spec/type") == "ExternalName" {
        return Ok(());
    }
    for field in [
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "healthCheckNodePort",
    ] {
        if let Some(kept) = old["spec"].get(field) {
            new.default_to(&format!("/spec/{field}"), kept.clone());
        }
    }
    if old.text("/spec/type") == "ExternalName" {
        return allocate(cluster, resource, new);
    }
    if matches!(new.text("/spec/type"), "NodePort" | "LoadBalancer") {
        for port in new
            .pointer_mut("/spec/ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let before = old
                .items("/spec/ports")
                .iter()
                .find(|one| one["port"] == port["port"]);
            if let Some(number) = before.and_then(|before| before.get("nodePort")) {
                port.default_to("/nodePort", number.clone());
            }
        }
        node_ports(cluster, new);
    }
    Ok(())
}

/// Decides `ipFamilies` from `ipFamilyPolicy` and what the cluster has.
fn families(cluster: &Cluster, object: &mut Value) -> Result<(), Status> {
    let headless_without_selector = object.text("/spec/clusterIP") == "None"
        && object["spec"]["selector"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty);
    if headless_without_selector && object["spec"]["ipFamilies"].is_null() {
        object.default_to("/spec/ipFamilyPolicy", "RequireDualStack");
        if object.text("/spec/ipFamilyPolicy") == "RequireDualStack" {
            // Without a selector nothing is allocated: both families may be used later.
            object.set("/spec/ipFamilies", json!(["IPv4", "IPv6"]));
        }
    }
    let asked = object.items("/spec/ipFamilies").to_vec();
    let policy = if asked.len() > 1 {
        "RequireDualStack"
    } else {
        "SingleStack"
    };
    object.default_to("/spec/ipFamilyPolicy", policy);
    let policy = object.text("/spec/ipFamilyPolicy").to_owned();
    let dual = policy != "SingleStack";
    let refuse = |field: &str, why: &str| {
        let error = FieldError::invalid(field, &policy.as_str().into(), why);
        Err(Status::invalid(
            resources::core("services"),
            object.name(),
            &[error],
        ))
    };
    if !cluster.options.dual_stack {
        if asked.iter().any(|family| family == "IPv6") && !headless_without_selector {
            return refuse("spec.ipFamilies[0]", "not configured on this cluster");
        }
        if policy == "RequireDualStack" && !headless_without_selector {
            return refuse(
                "spec.ipFamilyPolicy",
                "this cluster is not configured for dual-stack services",
            );
        }
    }
    let first = asked.first().cloned().unwrap_or_else(|| "IPv4".into());
    let second = if first == "IPv4" { "IPv6" } else { "IPv4" };
    let both = dual && (cluster.options.dual_stack || headless_without_selector);
    let families = if both {
        json!([first, second])
    } else {
        json!([first])
    };
    object.set("/spec/ipFamilies", families);
    Ok(())
}

fn addresses(cluster: &Cluster, object: &mut Value) -> Result<(), Status> {
    let services = resources::core("services");
    let (_, all) = cluster.store.list(services, None);
    let taken: HashSet<&str> = all
        .iter()
        .flat_map(|one| one.items("/spec/clusterIPs"))
        .filter_map(Value::as_str)
        .collect();
    let mut given: Vec<String> = object
        .items("/spec/clusterIPs")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if given.is_empty() && !object.text("/spec/clusterIP").is_empty() {
        given.push(object.text("/spec/clusterIP").to_owned());
    }
    let mut addresses = Vec::new();
    for (index, family) in object.items("/spec/ipFamilies").iter().enumerate() {
        let address = match given.get(index) {
            None => free(family == "IPv6", &taken),
            Some(asked) => {
                let field = format!("spec.clusterIPs[{index}]");
                let refuse = |why: &str| {
                    let error = FieldError::invalid(field.clone(), &asked.as_str().into(), why);
                    Status::invalid(services, object.name(), &[error])
                };
                if taken.contains(asked.as_str()) {
                    return Err(refuse(
                        "failed to allocate IP: provided IP is already allocated",
                    ));
                }
                if !is_service_address(asked) {
                    return Err(refuse(
                        "failed to allocate IP: the provided IP is not in the range of service addresses (10.96.0.0/16, fd00:10:96::/112)",
                    ));
                }
                asked.clone()
            }
        };
        addresses.push(address);
    }
    object.set("/spec/clusterIP", addresses[0].as_str());
    object.set("/spec/clusterIPs", addresses);
    Ok(())
}

fn is_service_address(text: &str) -> bool {
    match text.parse() {
        Ok(IpAddr::V4(address)) => address.octets()[..2] == SERVICES_V4.octets()[..2],
        Ok(IpAddr::V6(address)) => address.segments()[..7] == SERVICES_V6.segments()[..7],
        Err(_) => false,
    }
}

fn free(v6: bool, taken: &HashSet<&str>) -> String {
    loop {
        let number = u16::from_be_bytes(random::<2>());
        if number < RESERVED || number == u16::MAX {
            continue;
        }
        let address = if v6 {
            IpAddr::V6(Ipv6Addr::from_bits(
                SERVICES_V6.to_bits() + u128::from(number),
            ))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(
                SERVICES_V4.to_bits() + u32::from(number),
            ))
        };
        let address = address.to_string();
        if !taken.contains(address.as_str()) {
            return address;
        }
    }
}

fn node_ports(cluster: &Cluster, object: &mut Value) {
    let (_, all) = cluster.store.list(resources::core("services"), None);
    let taken: HashSet<i64> = all
        .iter()
        .flat_map(|one| one.items("/spec/ports"))
        .filter_map(|port| port["nodePort"].as_i64())
        .collect();
    if object["spec"]["allocateLoadBalancerNodePorts"] == false {
        return;
    }
    for port in object
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        while port["nodePort"].is_null() {
            let number = 30_000 + i64::from(u16::from_be_bytes(random::<2>())) % 2768;
            if !taken.contains(&number) {
                port.set("/nodePort", number);
            }
        }
    }
}
