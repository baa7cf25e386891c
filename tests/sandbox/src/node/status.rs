//! A pod's status, as the kubelet would write it.

mod conditions;

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::launcher::START_ERROR_CODE;
use super::lifecycle::{Exit, Lifecycle, Role, Slot, State};

/// What a status is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) lifecycle: &'a Lifecycle,
    /// Empty until the pod has a network.
    pub(crate) addrs: &'a [IpAddr],
    pub(crate) node_addrs: &'a [IpAddr],
    /// When this node first saw the pod.
    pub(crate) start_time: Timestamp,
    /// Whether the network and the volumes are there.
    pub(crate) sandbox_ready: bool,
    /// Why the node ended the pod, if it did.
    pub(crate) reason: Option<(&'static str, &'a str)>,
    /// What was written last; times of conditions that didn't change are kept from it.
    pub(crate) previous: Option<&'a PodStatus>,
    pub(crate) now: (Timestamp, Instant),
}

/// The status of a pod in this state.
pub(crate) fn pod_status(facts: Facts<'_>) -> PodStatus {
    let default = PodSpec::default();
    let spec = facts.pod.spec.as_ref().unwrap_or(&default);
    let phase = phase(facts.lifecycle, facts.reason.is_some());
    let statuses = |containers: &[Container]| -> Vec<ContainerStatus> {
        let slot = |container: &Container| {
            let slot = &facts.lifecycle.slots[facts.lifecycle.find(&container.name)?];
            Some(container_status(facts, container, slot))
        };
        containers.iter().filter_map(slot).collect()
    };
    let ips = |addrs: &[IpAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (pod_ips, host_ips) = (ips(facts.addrs), ips(facts.node_addrs));
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions::conditions(facts, spec, phase)),
        init_container_statuses: spec.init_containers.as_deref().map(statuses),
        container_statuses: Some(statuses(&spec.containers)),
        pod_ip: pod_ips.first().cloned(),
        pod_ips: (!pod_ips.is_empty())
            .then(|| pod_ips.into_iter().map(|ip| PodIP { ip }).collect()),
        host_ip: host_ips.first().cloned(),
        host_ips: Some(host_ips.into_iter().map(|ip| HostIP { ip }).collect()),
        start_time: Some(Time(facts.start_time)),
        qos_class: Some(qos_class(spec).to_owned()),
        reason: facts.reason.map(|(reason, _)| reason.to_owned()),
        message: facts.reason.map(|(_, message)| message.to_owned()),
        ..PodStatus::default()
    }
}

/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>.
fn phase(lifecycle: &Lifecycle, ended_by_node: bool) -> &'static str {
    let mains = || {
        lifecycle
            .slots
            .iter()
            .filter(|slot| slot.role == Role::Main)
    };
    let succeeded = |slot: &Slot| matches!(&slot.state, State::Terminated(exit) if exit.code == 0);
    if lifecycle.has_ended() {
        let good = !ended_by_node && mains().all(succeeded);
        return if good { "Succeeded" } else { "Failed" };
    }
    let never_ran = |slot: &Slot| match &slot.state {
        State::Waiting { .. } | State::Starting => slot.last.is_none(),
        State::Running { .. } | State::Terminated(_) => false,
    };
    if lifecycle.init_failed() {
        "Failed"
    } else if !lifecycle.is_initialized() || mains().any(never_ran) {
        "Pending"
    } else {
        "Running"
    }
}

fn container_status(facts: Facts<'_>, container: &Container, slot: &Slot) -> ContainerStatus {
    let image = container.image.clone().unwrap_or_default();
    let init_done =
        slot.role == Role::Init && matches!(&slot.state, State::Terminated(exit) if exit.code == 0);
    let (state, last) = states(facts, slot);
    ContainerStatus {
        name: container.name.clone(),
        image_id: if slot.run > 0 {
            image.clone()
        } else {
            String::new()
        },
        image,
        container_id: (slot.run > 0).then(|| container_id(facts.pod, &slot.name, slot.run)),
        ready: slot.ready || init_done,
        started: Some(slot.started),
        restart_count: slot.restarts,
        state: Some(state),
        last_state: Some(last),
        ..ContainerStatus::default()
    }
}

/// A name for each run of a container; its form is `<runtime>://<id>`.
fn container_id(pod: &Pod, name: &str, run: u32) -> String {
    format!(
        "netting-sandbox://{}/{name}/{run}",
        pod.uid().unwrap_or_default()
    )
}

/// The state of now, and how the run before it ended.
fn states(facts: Facts<'_>, slot: &Slot) -> (ContainerState, ContainerState) {
    let ended = |exit: &Exit, run| terminated(exit, facts.pod, slot, run);
    let last = slot
        .last
        .as_ref()
        .map(|exit| ended(exit, slot.run.saturating_sub(1)));
    let last = last.unwrap_or_default();
    match &slot.state {
        State::Waiting {
            reason: Some((reason, message)),
            ..
        } => (waiting(reason, message), last),
        State::Waiting { .. } | State::Starting if slot.last.is_some() => {
            (last.clone(), ContainerState::default())
        }
        State::Waiting { .. } | State::Starting => (waiting(waits_for(facts, slot), ""), last),
        State::Running { since, .. } => {
            let running = ContainerStateRunning {
                started_at: Some(Time(*since)),
            };
            (
                ContainerState {
                    running: Some(running),
                    ..ContainerState::default()
                },
                last,
            )
        }
        State::Terminated(exit) => {
            let now = ended(exit, slot.run);
            let policy = facts.lifecycle.policy();
            let pause = slot.backs_off_until(policy).filter(|at| *at > facts.now.1);
            if pause.is_none() || facts.lifecycle.is_ending() {
                return (now, last);
            }
            let pause = slot.last_pause();
            let message = format!(
                "back-off {}s restarting failed container={} pod={}_{}({})",
                pause.as_secs(),
                slot.name,
                facts.pod.name_any(),
                facts.pod.namespace().unwrap_or_default(),
                facts.pod.uid().unwrap_or_default(),
            );
            (waiting("CrashLoopBackOff", &message), now)
        }
    }
}

fn waits_for(facts: Facts<'_>, slot: &Slot) -> &'static str {
    let has_init = facts
        .lifecycle
        .slots
        .iter()
        .any(|slot| slot.role != Role::Main);
    let first = facts
        .lifecycle
        .slots
        .first()
        .is_some_and(|first| first.name == slot.name);
    let waits_for_others = has_init && !first && !facts.lifecycle.is_initialized();
    if waits_for_others {
        "PodInitializing"
    } else {
        "ContainerCreating"
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: (!message.is_empty()).then(|| message.to_owned()),
    };
    ContainerState {
        waiting: Some(waiting),
        ..ContainerState::default()
    }
}

fn terminated(exit: &Exit, pod: &Pod, slot: &Slot, run: u32) -> ContainerState {
    let reason = match (exit.started_at, exit.code) {
        (None, START_ERROR_CODE) => "StartError",
        (_, 0) => "Completed",
        _ => "Error",
    };
    let id = container_id(pod, &slot.name, run);
    let terminated = ContainerStateTerminated {
        container_id: Some(id),
        exit_code: exit.code,
        reason: Some(reason.to_owned()),
        message: exit.message.clone(),
        started_at: Some(Time(exit.started_at.unwrap_or(exit.finished_at))),
        finished_at: Some(Time(exit.finished_at)),
        signal: None,
    };
    ContainerState {
        terminated: Some(terminated),
        ..ContainerState::default()
    }
}

/// See <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>.
fn qos_class(spec: &PodSpec) -> &'static str {
    let all = || {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    };
    let resources = |container: &Container| container.resources.clone().unwrap_or_default();
    let asks = |container: &Container| {
        let resources = resources(container);
        !resources.limits.unwrap_or_default().is_empty()
            || !resources.requests.unwrap_or_default().is_empty()
    };
    let guaranteed = |container: &Container| {
        let resources = resources(container);
        let limits = resources.limits.unwrap_or_default();
        let requests = resources.requests.unwrap_or_else(|| limits.clone());
        ["cpu", "memory"].iter().all(|name| {
            limits.contains_key(*name)
                && requests
                    .get(*name)
                    .is_none_or(|request| Some(request) == limits.get(*name))
        })
    };
    match (all().any(asks), all().all(guaranteed)) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests;
