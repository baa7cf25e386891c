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
/// The first addresses are for the API itself.
const RESERVED: u16 = 16;

/// Gives a new Service its addresses and ports.
pub(crate) fn allocate(
    cluster: &Cluster,
    resource: &'static Resource,
    object: &mut Value,
) -> Result<(), Status> {
    if resource.id() != ("", "services") || object.text("/spec/type") == "ExternalName" {
        return Ok(());
    }
    families(cluster, object)?;
    match object.text("/spec/clusterIP") {
        "None" => object.set("/spec/clusterIPs", json!(["None"])),
        _ => addresses(cluster, object)?,
    }
    node_ports(cluster, object);
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
    if old.text("/spec/type") == "ExternalName" {
        return allocate(cluster, resource, new);
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(kept) = old["spec"].get(field) {
            new.default_to(&format!("/spec/{field}"), kept.clone());
        }
    }
    for port in new.each("/spec/ports") {
        let mut before = old.items("/spec/ports").iter();
        let before = before.find(|one| one["port"] == port["port"]);
        if let Some(number) = before.and_then(|before| before.get("nodePort")) {
            port.default_to("/nodePort", number.clone());
        }
    }
    node_ports(cluster, new);
    Ok(())
}

/// Decides `ipFamilies` from `ipFamilyPolicy` and what the cluster has.
fn families(cluster: &Cluster, object: &mut Value) -> Result<(), Status> {
    let asked = object.items("/spec/ipFamilies").to_vec();
    let policy = match asked.len() {
        0 | 1 => "SingleStack",
        _ => "RequireDualStack",
    };
    object.default_to("/spec/ipFamilyPolicy", policy);
    let policy = object.text("/spec/ipFamilyPolicy");
    let wants_v6 = asked.iter().any(|family| family == "IPv6") || policy == "RequireDualStack";
    if wants_v6 && !cluster.options.dual_stack {
        let why = "this cluster is not configured for dual-stack services";
        let error = FieldError::invalid("spec.ipFamilyPolicy", &policy.into(), why);
        let services = resources::core("services");
        return Err(Status::invalid(services, object.name(), &[error]));
    }
    let first = asked.first().cloned().unwrap_or_else(|| "IPv4".into());
    let second = if first == "IPv4" { "IPv6" } else { "IPv4" };
    let families = if policy != "SingleStack" && cluster.options.dual_stack {
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
    let taken = all.iter().flat_map(|one| one.items("/spec/clusterIPs"));
    let taken: HashSet<&str> = taken.filter_map(Value::as_str).collect();
    let asked = object.text("/spec/clusterIP");
    if !asked.is_empty() && (taken.contains(asked) || asked.parse::<IpAddr>().is_err()) {
        let why = "failed to allocate IP: it is allocated already, or none";
        let error = FieldError::invalid("spec.clusterIPs[0]", &asked.into(), why);
        return Err(Status::invalid(services, object.name(), &[error]));
    }
    let families = object.items("/spec/ipFamilies").iter().enumerate();
    let addresses = families.map(|(index, family)| match (index, asked) {
        (1.., _) | (_, "") => free(family, &taken),
        _ => asked.to_owned(),
    });
    let addresses: Vec<String> = addresses.collect();
    object.set("/spec/clusterIP", addresses[0].as_str());
    object.set("/spec/clusterIPs", addresses);
    Ok(())
}

fn free(family: &Value, taken: &HashSet<&str>) -> String {
    loop {
        let number = u16::from_be_bytes(random::<2>());
        let address = if family == "IPv6" {
            Ipv6Addr::from_bits(SERVICES_V6.to_bits() + u128::from(number)).to_string()
        } else {
            Ipv4Addr::from_bits(SERVICES_V4.to_bits() + u32::from(number)).to_string()
        };
        if (RESERVED..u16::MAX).contains(&number) && !taken.contains(address.as_str()) {
            return address;
        }
    }
}

fn node_ports(cluster: &Cluster, object: &mut Value) {
    if !matches!(object.text("/spec/type"), "NodePort" | "LoadBalancer") {
        return;
    }
    let (_, all) = cluster.store.list(resources::core("services"), None);
    let ports = all.iter().flat_map(|one| one.items("/spec/ports"));
    let taken: HashSet<i64> = ports.filter_map(|port| port["nodePort"].as_i64()).collect();
    for port in object.each("/spec/ports") {
        while port["nodePort"].is_null() {
            let number = 30_000 + i64::from(u16::from_be_bytes(random::<2>())) % 2768;
            if !taken.contains(&number) {
                port.set("/nodePort", number);
            }
        }
    }
}
