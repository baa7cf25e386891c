//! The tables that `kubectl get` prints.

use serde_json::{Value, json};

use super::{
    cells::{
        age, condition, count, job_status, joined, of, or_none, pairs, pod_status,
        ready_containers, restarts, service_ports,
    },
    metadata,
};
use crate::api::{object::Object as _, resources::Resource};

/// A column: its name, whether it is shown only with `-o wide`, and its cell for an object.
type Column = (&'static str, bool, fn(&Value) -> Value);

const NAME: Column = ("Name", false, |object| object.name().into());
const AGE: Column = ("Age", false, |object| {
    age(object.text("/metadata/creationTimestamp"))
});

/// The table of `objects`, which are of the kind `resource`; `list` is its `ListMeta`.
pub(super) fn render(resource: &Resource, objects: &[&Value], list: Value) -> Value {
    let columns = columns(resource);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|(name, wide, _)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": i32::from(*wide)})
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns.iter().map(|(_, _, cell)| cell(object)).collect();
            json!({"cells": cells, "object": metadata(object)})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list,
        "columnDefinitions": definitions, "rows": rows})
}

const POD: &[Column] = &[
    NAME,
    ("Ready", false, ready_containers),
    ("Status", false, |pod| pod_status(pod).into()),
    ("Restarts", false, |pod| restarts(pod).to_string().into()),
    AGE,
    ("IP", true, |pod| or_none(pod.text("/status/podIP"))),
    ("Node", true, |pod| or_none(pod.text("/spec/nodeName"))),
];
const SERVICE: &[Column] = &[
    NAME,
    ("Type", false, |service| service.text("/spec/type").into()),
    ("Cluster-IP", false, |service| {
        or_none(service.text("/spec/clusterIP"))
    }),
    ("External-IP", false, |service| {
        or_none(service.text("/spec/externalName"))
    }),
    ("Port(s)", false, service_ports),
    AGE,
    ("Selector", true, |service| {
        pairs(&service["spec"]["selector"])
    }),
];
const NAMESPACE: &[Column] = &[
    NAME,
    ("Status", false, |namespace| {
        namespace.text("/status/phase").into()
    }),
    AGE,
];
const NODE: &[Column] = &[
    NAME,
    ("Status", false, |node| {
        if condition(node, "Ready") {
            "Ready"
        } else {
            "NotReady"
        }
        .into()
    }),
    ("Roles", false, |_| "<none>".into()),
    AGE,
    ("Version", false, |node| {
        node.text("/status/nodeInfo/kubeletVersion").into()
    }),
];
const EVENT: &[Column] = &[
    (
        "Last Seen",
        false,
        |event| age(event.text("/lastTimestamp")),
    ),
    ("Type", false, |event| event.text("/type").into()),
    ("Reason", false, |event| event.text("/reason").into()),
    ("Object", false, |event| {
        let object = &event["involvedObject"];
        format!(
            "{}/{}",
            object.text("/kind").to_lowercase(),
            object.text("/name")
        )
        .into()
    }),
    ("Message", false, |event| event.text("/message").into()),
];
const DEPLOYMENT: &[Column] = &[
    NAME,
    ("Ready", false, |one| {
        of(
            count(one, "/status/readyReplicas"),
            count(one, "/spec/replicas"),
        )
    }),
    ("Up-to-date", false, |one| {
        count(one, "/status/updatedReplicas").into()
    }),
    ("Available", false, |one| {
        count(one, "/status/availableReplicas").into()
    }),
    AGE,
];
const REPLICA_SET: &[Column] = &[
    NAME,
    ("Desired", false, |set| count(set, "/spec/replicas").into()),
    ("Current", false, |set| {
        count(set, "/status/replicas").into()
    }),
    ("Ready", false, |set| {
        count(set, "/status/readyReplicas").into()
    }),
    AGE,
];
const JOB: &[Column] = &[
    NAME,
    ("Status", false, job_status),
    ("Completions", false, |job| {
        of(
            count(job, "/status/succeeded"),
            count(job, "/spec/completions"),
        )
    }),
    AGE,
];
const SLICE: &[Column] = &[
    NAME,
    ("AddressType", false, |slice| {
        slice.text("/addressType").into()
    }),
    ("Ports", false, |slice| {
        joined(
            slice
                .items("/ports")
                .iter()
                .map(|port| port["port"].to_string()),
        )
    }),
    ("Endpoints", false, |slice| {
        joined(
            slice
                .items("/endpoints")
                .iter()
                .map(|one| one.text("/addresses/0").to_owned()),
        )
    }),
    AGE,
];
const OTHER: &[Column] = &[
    NAME,
    ("Created At", false, |object| {
        object.text("/metadata/creationTimestamp").into()
    }),
];

fn columns(resource: &Resource) -> &'static [Column] {
    match resource.id() {
        ("", "pods") => POD,
        ("", "services") => SERVICE,
        ("", "namespaces") => NAMESPACE,
        ("", "nodes") => NODE,
        ("", "events") => EVENT,
        ("apps", "deployments" | "statefulsets") => DEPLOYMENT,
        ("apps", "replicasets") => REPLICA_SET,
        ("batch", "jobs") => JOB,
        ("discovery.k8s.io", _) => SLICE,
        _ => OTHER,
    }
}
