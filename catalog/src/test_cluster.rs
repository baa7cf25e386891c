//! A cluster for tests: objects as JSON, states as lines of text.

use std::net::SocketAddr;

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use serde_json::{Value, json};

use crate::{
    index::{
        Changes, Index,
        state::{Endpoint, Kind, State},
    },
    objects::{self, Distribution, Key, Parsed, Refusal, endpoints, pod, service, slice},
};

/// An object of one of the four kinds, parsed.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Service(Parsed<objects::Service>),
    Slice(Parsed<objects::Slice>),
    Endpoints(Parsed<objects::Endpoints>),
    Pod(Parsed<objects::Pod>),
}

impl Object {
    pub(crate) fn parse(object: &Value) -> Self {
        fn typed<T: serde::de::DeserializeOwned>(object: &Value) -> T {
            serde_json::from_value(object.clone()).expect("tests write objects of their kind")
        }
        match object["kind"].as_str() {
            Some("Service") => Object::Service(service::parse(&typed::<core::Service>(object))),
            Some("EndpointSlice") => {
                Object::Slice(slice::parse(&typed::<discovery::EndpointSlice>(object)))
            }
            Some("Endpoints") => {
                Object::Endpoints(endpoints::parse(&typed::<core::Endpoints>(object)))
            }
            Some("Pod") => Object::Pod(pod::parse(&typed::<pod::watched::Watched>(object))),
            other => panic!("no kind that the catalog watches: {other:?}"),
        }
    }

    pub(crate) fn refused(&self) -> &[Refusal] {
        match self {
            Object::Service(parsed) => &parsed.refused,
            Object::Slice(parsed) => &parsed.refused,
            Object::Endpoints(parsed) => &parsed.refused,
            Object::Pod(parsed) => &parsed.refused,
        }
    }

    pub(crate) fn apply(self, index: &mut Index) -> Changes {
        match self {
            Object::Service(Parsed { key, object, .. }) => match object {
                Some(object) => index.apply_service(object),
                None => index.delete_service(&key),
            },
            Object::Slice(Parsed { key, object, .. }) => match object {
                Some(object) => index.apply_slice(object),
                None => index.delete_slice(&key),
            },
            Object::Endpoints(Parsed { key, object, .. }) => match object {
                Some(object) => index.apply_endpoints(object),
                None => index.delete_endpoints(&key),
            },
            Object::Pod(Parsed { key, object, .. }) => match object {
                Some(object) => index.apply_pod(object),
                None => index.delete_pod(&key),
            },
        }
    }

    pub(crate) fn delete(&self, index: &mut Index) -> Changes {
        match self {
            Object::Service(parsed) => index.delete_service(&parsed.key),
            Object::Slice(parsed) => index.delete_slice(&parsed.key),
            Object::Endpoints(parsed) => index.delete_endpoints(&parsed.key),
            Object::Pod(parsed) => index.delete_pod(&parsed.key),
        }
    }
}

/// An index that takes JSON.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) index: Index,
}

impl Cluster {
    pub(crate) fn of(objects: &[Value]) -> Self {
        let mut cluster = Self::default();
        for object in objects {
            cluster.apply(object);
        }
        cluster
    }

    pub(crate) fn apply(&mut self, object: &Value) -> Changes {
        Object::parse(object).apply(&mut self.index)
    }

    pub(crate) fn delete(&mut self, object: &Value) -> Changes {
        Object::parse(object).delete(&mut self.index)
    }

    /// The state of an address, a line for it and one for each endpoint.
    pub(crate) fn look(&self, address: &str) -> Vec<String> {
        match self.index.lookup(addr(address)) {
            Some(state) => describe(&state),
            None => vec!["unknown".to_owned()],
        }
    }
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("tests write addresses")
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("shop", name)
}

pub(crate) fn describe(state: &State) -> Vec<String> {
    let destination = &state.destination;
    let mut words = match destination.kind {
        Kind::Service => vec!["service"],
        Kind::Workload => vec!["workload"],
    };
    let name = format!("{}/{}", destination.namespace, destination.name);
    words.push(&name);
    words.push(&destination.port_name);
    let hint = format!("({})", destination.protocol_hint);
    if !destination.protocol_hint.is_empty() {
        words.push(&hint);
    }
    if destination.node_local {
        words.push("node-local");
    }
    let traffic = &destination.traffic;
    match traffic.distribution {
        Distribution::Any => {}
        Distribution::PreferSameZone => words.push("same-zone"),
        Distribution::PreferSameNode => words.push("same-node"),
    }
    let affinity = format!("affinity={}", traffic.session_affinity_seconds);
    if traffic.session_affinity_seconds > 0 {
        words.push(&affinity);
    }
    let policy = traffic.policy.to_string();
    words.push(&policy);
    words.retain(|word| !word.is_empty());
    let mut lines = vec![words.join(" ")];
    lines.extend(state.endpoints.iter().map(describe_endpoint));
    lines
}

fn describe_endpoint(endpoint: &Endpoint) -> String {
    let mut words = vec![endpoint.addr.to_string()];
    for (flag, word) in [
        (endpoint.ready, "ready"),
        (endpoint.serving, "serving"),
        (endpoint.terminating, "terminating"),
    ] {
        words.extend(flag.then(|| word.to_owned()));
    }
    if let Some(workload) = &endpoint.workload {
        words.push(format!("{}/{}", workload.namespace, workload.pod));
        if workload.meshed {
            words.push(format!("meshed as {}", workload.service_account));
        }
        let owner = &workload.owner;
        let owner = (!owner.kind.is_empty()).then(|| format!("of {} {}", owner.kind, owner.name));
        words.extend(owner);
    }
    for place in [&endpoint.node, &endpoint.zone] {
        words.extend((!place.is_empty()).then(|| place.to_string()));
    }
    for hint in endpoint
        .hints
        .iter()
        .flat_map(|h| h.zones.iter().chain(&h.nodes))
    {
        words.push(format!("for {hint}"));
    }
    words.join(" ")
}

pub(crate) fn service(name: &str, cluster_ip: &str, ports: Value) -> Value {
    json!({
        "kind": "Service",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIPs": [cluster_ip], "ports": ports},
    })
}

pub(crate) fn slice(name: &str, service: &str, ports: Value, endpoints: Value) -> Value {
    json!({
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop",
            "name": name,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": endpoints,
    })
}

/// An endpoint that is a pod, and ready.
pub(crate) fn member(ip: &str, pod: &str) -> Value {
    json!({"addresses": [ip], "targetRef": {"kind": "Pod", "namespace": "shop", "name": pod}})
}

/// A meshed pod, with a native sidecar.
pub(crate) fn pod(name: &str, ip: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {
            "namespace": "shop",
            "name": name,
            "labels": {"netting.dev/injected": "true"},
        },
        "spec": {
            "initContainers": [{"name": "netting-sidecar", "restartPolicy": "Always"}],
            "containers": [],
            "serviceAccountName": "default",
            "nodeName": "node-a",
        },
        "status": {"phase": "Running", "podIPs": [{"ip": ip}]},
    })
}

/// `object` with the value at a JSON pointer replaced, or made.
pub(crate) fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer
        .rsplit_once('/')
        .expect("a JSON pointer has a slash");
    let parent = object.pointer_mut(parent).expect("the parent exists");
    parent[field] = value;
    object
}
