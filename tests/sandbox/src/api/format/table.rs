//! The tables that `kubectl get` prints.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::metadata;
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

fn of(part: i64, all: i64) -> Value {
    format!("{part}/{all}").into()
}

fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn condition(object: &Value, kind: &str) -> bool {
    object
        .items("/status/conditions")
        .iter()
        .any(|one| one["type"] == kind && one["status"] == "True")
}

fn or_none(text: &str) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

fn joined(items: impl Iterator<Item = String>) -> Value {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        "<unset>".into()
    } else {
        items.join(",").into()
    }
}

fn pairs(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect();
    or_none(&labels.join(","))
}

fn service_ports(service: &Value) -> Value {
    let ports = service
        .items("/spec/ports")
        .iter()
        .map(|port| match port["nodePort"].as_i64() {
            Some(node_port) => format!("{}:{node_port}/{}", port["port"], port.text("/protocol")),
            None => format!("{}/{}", port["port"], port.text("/protocol")),
        });
    let ports: Vec<String> = ports.collect();
    or_none(&ports.join(","))
}

/// The time since `then` (RFC 3339), in its one or two largest units.
fn age(then: &str) -> Value {
    let Ok(then) = then.parse::<Timestamp>() else {
        return "<unknown>".into();
    };
    let seconds = (Timestamp::now().as_second() - then.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{}m{}s", seconds / 60, seconds % 60),
        600..10_800 => format!("{}m", seconds / 60),
        10_800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
    .into()
}

/// The containers that `kubectl` counts: the pod's own and its native sidecars.
fn long_running(pod: &Value) -> impl Iterator<Item = &Value> {
    let sidecars = pod.items("/spec/initContainers").iter();
    let sidecars = sidecars.filter(|container| container["restartPolicy"] == "Always");
    sidecars.chain(pod.items("/spec/containers"))
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    pod.items("/status/initContainerStatuses")
        .iter()
        .chain(pod.items("/status/containerStatuses"))
}

fn ready_containers(pod: &Value) -> Value {
    let all = long_running(pod).count();
    let ready = statuses(pod)
        .filter(|status| status["ready"] == true && status["state"]["running"].is_object())
        .count();
    format!("{ready}/{all}").into()
}

fn restarts(pod: &Value) -> i64 {
    statuses(pod)
        .map(|status| count(status, "/restartCount"))
        .sum()
}

fn pod_status(pod: &Value) -> String {
    if pod.is_terminating() {
        return "Terminating".to_owned();
    }
    let inits = pod.items("/status/initContainerStatuses");
    let pending = inits.iter().position(|status| {
        let done = status["state"]["terminated"]["exitCode"] == 0;
        let started = status["started"] == true;
        !done && !started
    });
    if let Some(index) = pending {
        let reason = ["waiting", "terminated"]
            .map(|state| inits[index].text(&format!("/state/{state}/reason")));
        return match reason
            .into_iter()
            .find(|reason| !["", "PodInitializing"].contains(reason))
        {
            Some(reason) => format!("Init:{reason}"),
            None => format!("Init:{index}/{}", inits.len()),
        };
    }
    let mut reasons = pod
        .items("/status/containerStatuses")
        .iter()
        .flat_map(|status| {
            ["waiting", "terminated"].map(|state| status.text(&format!("/state/{state}/reason")))
        });
    match reasons.rfind(|reason| !reason.is_empty()) {
        Some(reason) => reason.to_owned(),
        None => pod.text("/status/phase").to_owned(),
    }
}

fn job_status(job: &Value) -> Value {
    let done = ["Complete", "Failed"]
        .into_iter()
        .find(|kind| condition(job, kind));
    done.unwrap_or("Running").into()
}
