//! Services and the addresses behind them.

use std::{collections::HashSet, net::IpAddr};

use serde_json::Value;

use super::{names, pod::is_port};
use crate::api::{object::Object as _, status::FieldError};

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// Everything that is wrong with a Service, new or in the place of `old`.
pub(super) fn check(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = object.text("/spec/type");
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !kinds.contains(&kind) {
        errors.push(FieldError::unsupported("spec.type", kind, &kinds));
    }
    let ports = object.items("/spec/ports");
    let headless = object.text("/spec/clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let external = object.text("/spec/externalName").trim_end_matches('.');
    if kind == "ExternalName" && !names::is_subdomain(external) {
        errors.push(FieldError::required(
            "spec.externalName",
            "must be a DNS name",
        ));
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        let name = port.text("/name");
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(at("name"), ""));
        } else if !name.is_empty() && !names::is_label(name) {
            errors.push(names::not_a_label(at("name"), &port["name"]));
        } else if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(at("name"), &port["name"]));
        }
        for field in ["port", "targetPort"] {
            let number = &port[field];
            if !number.is_string() && !is_port(number) {
                errors.push(FieldError::invalid(at(field), number, PORT_RANGE));
            }
        }
        let (protocol, known) = (port.text("/protocol"), ["SCTP", "TCP", "UDP"]);
        if !known.contains(&protocol) {
            errors.push(FieldError::unsupported(at("protocol"), protocol, &known));
        }
    }
    if let Some(old) = old {
        let (before, now) = (old.text("/spec/clusterIP"), object.text("/spec/clusterIP"));
        if !before.is_empty() && before != now && kind != "ExternalName" {
            let value = &old["spec"]["clusterIPs"];
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                value,
                "may not change once set",
            ));
        }
    }
    errors
}

/// Everything that is wrong with an EndpointSlice.
pub(super) fn slice(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (family, known) = (object.text("/addressType"), ["FQDN", "IPv4", "IPv6"]);
    if !known.contains(&family) {
        errors.push(FieldError::unsupported("addressType", family, &known));
    }
    for (index, endpoint) in object.items("/endpoints").iter().enumerate() {
        let at = format!("endpoints[{index}].addresses");
        let addresses = endpoint.items("/addresses");
        if addresses.is_empty() {
            errors.push(FieldError::required(
                at.clone(),
                "must contain at least 1 address",
            ));
        }
        for (position, address) in addresses.iter().enumerate() {
            let text = address.as_str().unwrap_or("");
            let fits = match family {
                "IPv4" => matches!(text.parse(), Ok(IpAddr::V4(_))),
                "IPv6" => matches!(text.parse(), Ok(IpAddr::V6(_))),
                _ => names::is_subdomain(text),
            };
            if !fits {
                let why = format!("must be a valid {family} address");
                errors.push(FieldError::invalid(
                    format!("{at}[{position}]"),
                    address,
                    &why,
                ));
            }
        }
    }
    errors
}
