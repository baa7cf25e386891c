//! The cells of the tables that `kubectl get` prints.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::api::object::Object as _;

/// `part` of `all`.
pub(super) fn of(part: i64, all: i64) -> Value {
    format!("{part}/{all}").into()
}

/// The number at `pointer`, 0 if there is none.
pub(super) fn count(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether a condition in the object's status holds.
pub(super) fn condition(object: &Value, kind: &str) -> bool {
    object
        .items("/status/conditions")
        .iter()
        .any(|one| one["type"] == kind && one["status"] == "True")
}

/// How `kubectl` shows what isn't set.
pub(super) fn or_none(text: &str) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

/// Items with commas between them.
pub(super) fn joined(items: impl Iterator<Item = String>) -> Value {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        "<unset>".into()
    } else {
        items.join(",").into()
    }
}

/// Labels as a selector.
pub(super) fn pairs(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect();
    or_none(&labels.join(","))
}

/// A Service's ports: number, node port and protocol.
pub(super) fn service_ports(service: &Value) -> Value {
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
pub(super) fn age(then: &str) -> Value {
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

/// How many of a pod's containers are ready.
pub(super) fn ready_containers(pod: &Value) -> Value {
    let all = long_running(pod).count();
    let ready = statuses(pod)
        .filter(|status| status["ready"] == true && status["state"]["running"].is_object())
        .count();
    format!("{ready}/{all}").into()
}

/// How often a pod's containers were started again.
pub(super) fn restarts(pod: &Value) -> i64 {
    statuses(pod)
        .map(|status| count(status, "/restartCount"))
        .sum()
}

/// What `kubectl` calls a pod's status: the reason of whatever keeps it, or its phase.
pub(super) fn pod_status(pod: &Value) -> String {
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

/// Whether a Job has ended, and how.
pub(super) fn job_status(job: &Value) -> Value {
    let done = ["Complete", "Failed"]
        .into_iter()
        .find(|kind| condition(job, kind));
    done.unwrap_or("Running").into()
}
