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
    if kind == "ExternalName"
        && !names::is_subdomain(object.text("/spec/externalName").trim_end_matches('.'))
    {
        errors.push(FieldError::required(
            "spec.externalName",
            "must be a DNS name",
        ));
    }
    let mut seen = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        let name = port.text("/name");
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        } else if !name.is_empty() && !names::is_label(name) {
            errors.push(names::not_a_label(format!("{at}.name"), &port["name"]));
        } else if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{at}.name"), &port["name"]));
        }
        if !is_port(&port["port"]) {
            errors.push(FieldError::invalid(
                format!("{at}.port"),
                &port["port"],
                PORT_RANGE,
            ));
        }
        if port["targetPort"].is_number() && !is_port(&port["targetPort"]) {
            errors.push(FieldError::invalid(
                format!("{at}.targetPort"),
                &port["targetPort"],
                PORT_RANGE,
            ));
        }
        let protocol = port.text("/protocol");
        if !["SCTP", "TCP", "UDP"].contains(&protocol) {
            errors.push(FieldError::unsupported(
                format!("{at}.protocol"),
                protocol,
                &["SCTP", "TCP", "UDP"],
            ));
        }
    }
    if let Some(old) = old {
        let (before, now) = (old.text("/spec/clusterIP"), object.text("/spec/clusterIP"));
        if !before.is_empty() && before != now && kind != "ExternalName" {
            let field = "spec.clusterIPs[0]";
            errors.push(FieldError::invalid(
                field,
                &old["spec"]["clusterIPs"],
                "may not change once set",
            ));
        }
    }
    errors
}

/// Everything that is wrong with an EndpointSlice.
pub(super) fn slice(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let family = object.text("/addressType");
    if !["IPv4", "IPv6", "FQDN"].contains(&family) {
        errors.push(FieldError::unsupported(
            "addressType",
            family,
            &["FQDN", "IPv4", "IPv6"],
        ));
    }
    if old.is_some_and(|old| old["addressType"] != object["addressType"]) {
        errors.push(FieldError::invalid(
            "addressType",
            &object["addressType"],
            "field is immutable",
        ));
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

/// Everything that is wrong with an Endpoints object.
pub(super) fn endpoints(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, subset) in object.items("/subsets").iter().enumerate() {
        let at = format!("subsets[{index}]");
        let ready = subset.items("/addresses");
        let unready = subset.items("/notReadyAddresses");
        if ready.is_empty() && unready.is_empty() {
            errors.push(FieldError::required(
                at.clone(),
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for (field, addresses) in [("addresses", ready), ("notReadyAddresses", unready)] {
            for (position, address) in addresses.iter().enumerate() {
                if address.text("/ip").parse::<IpAddr>().is_err() {
                    let field = format!("{at}.{field}[{position}].ip");
                    let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                    errors.push(FieldError::invalid(field, &address["ip"], why));
                }
            }
        }
        for (position, port) in subset.items("/ports").iter().enumerate() {
            if !is_port(&port["port"]) {
                let field = format!("{at}.ports[{position}].port");
                errors.push(FieldError::invalid(field, &port["port"], PORT_RANGE));
            }
        }
    }
    errors
}
