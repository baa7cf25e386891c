//! Tells the API a pod's status, as the kubelet would write it.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::state::{Doing, Exit, Role, Slot, State};
use super::{Life, RETRY};
use crate::node::launcher::START_ERROR_CODE;

/// Writes a pod's status: always the newest one, never two at once.
#[derive(Default)]
pub(super) struct Publisher {
    /// What was written last; times of conditions that didn't change are kept from it.
    last: Value,
}

impl Publisher {
    /// Writes every change, until it is dropped.
    pub(super) async fn follow(&mut self, life: &Life) {
        let mut changes = life.state.subscribe();
        loop {
            changes.borrow_and_update();
            self.publish(life).await;
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Writes the status of now, if it isn't what was written last.
    pub(super) async fn publish(&mut self, life: &Life) {
        let namespace = life.pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(life.node.client.clone(), &namespace);
        loop {
            let status = status(life, &life.state.borrow(), &self.last);
            if status == self.last {
                return;
            }
            // The uid keeps the status off a later pod of the same name.
            let patch = json!({"metadata": {"uid": life.pod.uid()}, "status": status});
            let (name, params) = (life.pod.name_any(), PatchParams::default());
            match api.patch_status(&name, &params, &Patch::Merge(patch)).await {
                Err(kube::Error::Api(refused)) if [404, 409, 422].contains(&refused.code) => {
                    tracing::debug!(pod = name, %refused, "a status was refused");
                }
                Err(error) => {
                    tracing::warn!(pod = name, %error, "could not write a pod's status");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Ok(_) => {}
            }
            self.last = status;
        }
    }
}

fn status(life: &Life, state: &State, last: &Value) -> Value {
    let statuses = |main: bool| -> Vec<Value> {
        let slots = state
            .slots
            .iter()
            .filter(|slot| (slot.role == Role::Main) == main);
        slots
            .map(|slot| container_status(&life.pod, slot))
            .collect()
    };
    let ips = |addrs: &[std::net::IpAddr]| -> Vec<Value> {
        addrs.iter().map(|addr| json!({"ip": addr})).collect()
    };
    let node_addrs = life.node.network.node_addrs();
    let started = life
        .pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.clone());
    let started = started.map_or_else(Timestamp::now, |time| time.0);
    let started = last
        .get("startTime")
        .cloned()
        .unwrap_or_else(|| seconds(started));
    let mut status = json!({
        "phase": state.phase(), "conditions": conditions(state, last),
        "containerStatuses": statuses(true),
        "hostIP": node_addrs.first(), "hostIPs": ips(node_addrs), "startTime": started,
    });
    if life.spec.init_containers.is_some() {
        status["initContainerStatuses"] = statuses(false).into();
    }
    if let Some(first) = state.addrs.first() {
        status["podIP"] = json!(first);
        status["podIPs"] = ips(&state.addrs).into();
    }
    status
}

/// `metav1.Time` has no fractions.
fn seconds(time: Timestamp) -> Value {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

fn container_status(pod: &Pod, slot: &Slot) -> Value {
    let image = slot.container.image.clone().unwrap_or_default();
    let id = |run: i32| {
        format!(
            "netting-sandbox://{}/{}/{run}",
            pod.uid().unwrap_or_default(),
            slot.container.name
        )
    };
    let run = slot.restarts;
    let last = match (&slot.doing, &slot.last) {
        (Doing::Ended(_), _) | (_, None) => json!({}),
        (Doing::Waiting(..), Some(exit)) => terminated(exit, id(run)),
        (Doing::Running(_), Some(exit)) => terminated(exit, id(run - 1)),
    };
    let state = match &slot.doing {
        Doing::Waiting(reason, message) => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        Doing::Running(since) => json!({"running": {"startedAt": seconds(*since)}}),
        Doing::Ended(exit) => terminated(exit, id(run)),
    };
    json!({"name": slot.container.name, "image": image, "imageID": image, "containerID": id(run),
        "ready": slot.ready || (slot.role == Role::Init && slot.succeeded()), "started": slot.started,
        "restartCount": slot.restarts, "state": state, "lastState": last})
}

fn terminated(exit: &Exit, id: String) -> Value {
    let reason = match (exit.started_at, exit.code) {
        (None, START_ERROR_CODE) => "StartError",
        (_, 0) => "Completed",
        _ => "Error",
    };
    json!({"terminated": {"containerID": id, "exitCode": exit.code, "reason": reason,
        "message": exit.message, "finishedAt": seconds(exit.finished_at),
        "startedAt": seconds(exit.started_at.unwrap_or(exit.finished_at))}})
}

/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions>.
fn conditions(state: &State, last: &Value) -> Value {
    let unready = state
        .slots
        .iter()
        .filter(|slot| slot.role != Role::Init && !slot.ready);
    let unready: Vec<&str> = unready.map(|slot| slot.container.name.as_str()).collect();
    let not_ready = match state.phase() {
        "Succeeded" => Some(("PodCompleted", String::new())),
        "Failed" => Some(("PodFailed", String::new())),
        _ if unready.is_empty() => None,
        _ => {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            Some(("ContainersNotReady", message))
        }
    };
    let no = |reason, holds: bool| (!holds).then(|| (reason, String::new()));
    let all = [
        // It is here, whether a scheduler or its author chose the node.
        ("PodScheduled", None),
        (
            "PodReadyToStartContainers",
            no("NoNetwork", !state.addrs.is_empty()),
        ),
        (
            "Initialized",
            no("ContainersNotInitialized", state.is_initialized()),
        ),
        ("Ready", not_ready.clone()),
        ("ContainersReady", not_ready),
    ];
    let all = all.map(|(kind, failing)| {
        let holds = if failing.is_none() { "True" } else { "False" };
        let (reason, message) = failing.unwrap_or_default();
        let before = last["conditions"].as_array().into_iter().flatten();
        let mut same = before.filter(|one| one["type"] == kind && one["status"] == holds);
        let since = same.next().map(|one| one["lastTransitionTime"].clone());
        json!({"type": kind, "status": holds, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| seconds(Timestamp::now()))})
    });
    all.to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(state: &State, last: &Value) -> Value {
        conditions(state, last)[3].clone()
    }

    #[test]
    fn a_condition_keeps_its_time_as_long_as_it_holds() {
        let spec = serde_json::from_value(json!({"containers": [{"name": "a"}]})).expect("a spec");
        let mut state = State::new(&spec, None);
        let before = json!({"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "then"}]});
        let unready = ready(&state, &before);
        assert_eq!(
            (&unready["status"], &unready["lastTransitionTime"]),
            (&json!("False"), &json!("then"))
        );
        assert_eq!(unready["message"], "containers with unready status: [a]");
        state.slots[0].has_started();
        let now_ready = ready(&state, &before);
        assert_eq!(now_ready["status"], "True");
        assert_ne!(now_ready["lastTransitionTime"], "then");
    }

    #[test]
    fn a_container_that_is_started_again_says_how_it_ended() {
        let spec = serde_json::from_value(json!({"containers": [{"name": "a"}]})).expect("a spec");
        let mut slot = State::new(&spec, None).slots.remove(0);
        let now = Timestamp::UNIX_EPOCH;
        slot.has_ended(Exit {
            code: 3,
            message: None,
            started_at: Some(now),
            finished_at: now,
        });
        slot.starts_again(10);
        let status = container_status(&Pod::default(), &slot);
        assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
        assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
        assert_eq!(status["restartCount"], 0, "until it runs again");
    }
}
