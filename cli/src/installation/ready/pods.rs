//! What keeps a pod from being ready, in words.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

/// Waiting of these kinds is part of every start.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// `netting-webhook-5d: webhook: ImagePullBackOff: …`; `None` if nothing is wrong.
pub(super) fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let said = match unscheduled {
        Some(condition) => {
            let why = condition.message.as_deref().unwrap_or("no reason is given");
            format!("no node takes it: {why}")
        }
        None => {
            let containers = status.container_statuses.iter().flatten();
            containers.filter_map(of_container).next()?
        }
    };
    Some(format!("{}: {said}", pod.name_any()))
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    if reason.is_none_or(|reason| ORDINARY.contains(&reason)) && state.terminated.is_none() {
        return None;
    }
    let ended = state.terminated.as_ref().or_else(|| {
        let last = container.last_state.as_ref()?;
        last.terminated.as_ref()
    });
    // A container's last words (terminationMessagePolicy) say more than that it ended.
    let last_words = ended.and_then(|ended| ended.message.as_deref());
    let waiting = waiting.and_then(|waiting| waiting.message.as_deref());
    let message = last_words.or(waiting).unwrap_or("no reason is given");
    let line = message.trim().lines().next_back().unwrap_or_default();
    let reason = reason.or(ended.and_then(|ended| ended.reason.as_deref()));
    Some(format!(
        "{}: {}: {line}",
        container.name,
        reason.unwrap_or("ended")
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(status: Value) -> Option<String> {
        let pod =
            json!({"metadata": {"name": "w-1"}, "spec": {"containers": []}, "status": status});
        trouble(&serde_json::from_value(pod).expect("it is a pod"))
    }

    fn container(state: Value, last: Value) -> Value {
        json!({"containerStatuses": [{"name": "webhook", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": state, "lastState": last}]})
    }

    #[test]
    fn starting_is_no_trouble() {
        for reason in ORDINARY {
            let waiting = json!({"waiting": {"reason": reason}});
            assert_eq!(said(container(waiting, json!({}))), None);
        }
        assert_eq!(said(container(json!({"running": {}}), json!({}))), None);
        assert_eq!(said(json!({})), None);
    }

    #[test]
    fn an_image_that_is_not_there_is_named() {
        let state = json!({"waiting": {"reason": "ErrImageNeverPull",
            "message": "Container image \"ghcr.io/x\" is not present with pull policy of Never"}});
        let said = said(container(state, json!({}))).expect("it is trouble");
        assert_eq!(
            said,
            "w-1: webhook: ErrImageNeverPull: Container image \"ghcr.io/x\" is not present with pull policy of Never"
        );
    }

    #[test]
    fn what_a_crashed_container_said_last_is_passed_on() {
        let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let last = json!({"terminated": {"exitCode": 2, "reason": "Error",
            "message": "starting\nerror: unexpected argument '--streams'\n"}});
        let said = said(container(state, last)).expect("it is trouble");
        assert_eq!(
            said,
            "w-1: webhook: CrashLoopBackOff: error: unexpected argument '--streams'"
        );
    }

    #[test]
    fn a_pod_without_a_node_says_why() {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient memory."});
        let said = said(json!({"conditions": [condition]})).expect("it is trouble");
        assert!(said.contains("no node takes it: 0/3 nodes"), "{said}");
    }
}
