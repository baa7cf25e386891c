//! Endpoints, which were there before slices: a controller writes them for Services that select pods,
//! and what people write for other Services is mirrored into slices.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    addresses::{self, Group},
    slices,
};
use crate::api::{insider::Insider, object::Object as _, resources, status::Status, store::Key};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OURS: &str = "endpoint-controller";
const MIRRORED_BY: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// Brings a Service's Endpoints up to date, or takes those away whose Service is gone.
pub(super) async fn look(insider: &Insider, object: &Value) -> Result<(), Status> {
    let kind = resources::core("endpoints");
    if object["kind"] == "Endpoints" {
        let is_left_over = is_ours(object) && service_of(insider, object).is_none();
        return if is_left_over {
            insider.delete(kind, object)
        } else {
            Ok(())
        };
    }
    let service = object;
    if !addresses::is_selecting(service) {
        return Ok(());
    }
    // They are of one family, the first.
    let groups = addresses::groups(service, &slices::pods_of(insider, service), |_| None);
    let family = &service["spec"]["ipFamilies"][0];
    let groups = groups.iter().filter(|group| *family == *group.family);
    let subsets: Vec<Value> = groups.filter_map(subset).collect();
    let labels = slices::labels(service, MANAGED_BY, OURS);
    let key = Key::new(kind, service.namespace(), service.name());
    let old = insider.cluster.store.get(&key);
    let is_current =
        |old: &Value| old.items("/subsets") == subsets && old["metadata"]["labels"] == labels;
    if old.as_deref().is_some_and(is_current) {
        return Ok(());
    }
    let name = json!({"metadata": {"name": service.name()}});
    let mut new = old.as_deref().cloned().unwrap_or(name);
    new["metadata"]["labels"] = labels;
    new.take_out("/subsets");
    if !subsets.is_empty() {
        new["subsets"] = subsets.into();
    }
    match old {
        Some(_) => insider.update(&key, &new).await,
        None => insider
            .create(kind, service.namespace(), &new)
            .await
            .map(drop),
    }
}

/// Brings the slices up to date that mirror Endpoints which no controller wrote.
pub(super) async fn mirror(insider: &Insider, endpoints: &Value) -> Result<(), Status> {
    let service = service_of(insider, endpoints);
    let is_mirrored = !is_ours(endpoints)
        && endpoints["metadata"]["labels"][SKIP_MIRROR] != "true"
        && service.is_some_and(|service| !addresses::is_selecting(&service));
    let groups = if is_mirrored {
        mirrored(endpoints)
    } else {
        Vec::new()
    };
    let labels = slices::labels(endpoints, slices::MANAGED_BY, MIRRORED_BY);
    slices::reconcile(insider, endpoints, labels, groups).await
}

fn is_ours(endpoints: &Value) -> bool {
    endpoints["metadata"]["labels"][MANAGED_BY] == OURS
}

fn service_of(insider: &Insider, endpoints: &Value) -> Option<Arc<Value>> {
    let services = resources::core("services");
    let key = Key::new(services, endpoints.namespace(), endpoints.name());
    insider.cluster.store.get(&key)
}

/// A group of a slice's endpoints as a subset. Pods that end are in it only if everything is to be
/// published, which makes them ready.
fn subset(group: &Group) -> Option<Value> {
    let mut subset = json!({});
    for endpoint in group.endpoints.as_array().into_iter().flatten() {
        let conditions = &endpoint["conditions"];
        let list = match (&conditions["ready"], &conditions["terminating"]) {
            (Value::Bool(true), _) => "/addresses",
            (_, Value::Bool(true)) => continue,
            _ => "/notReadyAddresses",
        };
        let mut address = json!({"ip": endpoint["addresses"][0]});
        copy_place(endpoint, &mut address);
        subset.push(list, address);
    }
    if subset == json!({}) {
        return None;
    }
    subset["ports"] = group.ports.clone();
    for port in subset.each("/ports") {
        if port["name"] == "" {
            port.take_out("/name");
        }
    }
    Some(subset)
}

/// The slices' groups for what somebody wrote.
fn mirrored(endpoints: &Value) -> Vec<Group> {
    let mut groups = Vec::new();
    for subset in endpoints.items("/subsets") {
        let mut ports = subset["ports"].clone();
        for port in ports.each("") {
            port.default_to("/name", "");
        }
        for family in ["IPv4", "IPv6"] {
            let mut endpoints = Vec::new();
            for (list, ready) in [("/addresses", true), ("/notReadyAddresses", false)] {
                let addresses = subset.items(list).iter();
                for address in addresses.filter(|one| family_of(one.text("/ip")) == family) {
                    let mut endpoint =
                        json!({"addresses": [address["ip"]], "conditions": {"ready": ready}});
                    copy_place(address, &mut endpoint);
                    endpoints.push(endpoint);
                }
            }
            if !endpoints.is_empty() {
                groups.push(Group {
                    family: family.to_owned(),
                    ports: ports.clone(),
                    endpoints: endpoints.into(),
                });
            }
        }
    }
    groups
}

fn family_of(ip: &str) -> &'static str {
    if ip.contains(':') { "IPv6" } else { "IPv4" }
}

/// What an address and an endpoint of a slice both say of a pod.
fn copy_place(from: &Value, to: &mut Value) {
    for field in ["hostname", "nodeName", "targetRef"] {
        if let Some(value) = from.get(field) {
            to[field] = value.clone();
        }
    }
}
