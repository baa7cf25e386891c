//! The conditions of a pod.
//!
//! See <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions>.

use k8s_openapi::api::core::v1::{PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Facts;
use crate::node::lifecycle::{Role, Slot};

/// Why a condition is false.
type Failing = Option<(&'static str, String)>;

/// The node's conditions, after those that others wrote (a scheduler, readiness gates).
pub(super) fn conditions(facts: Facts<'_>, spec: &PodSpec, phase: &str) -> Vec<PodCondition> {
    let uninitialized = names(facts, |slot| slot.role != Role::Main && !is_past(slot));
    let unready = names(facts, |slot| slot.role != Role::Init && !slot.ready);
    let initialized: Failing =
        (!facts.lifecycle.is_initialized() && phase != "Succeeded").then(|| {
            let message = format!("containers with incomplete status: {uninitialized}");
            ("ContainersNotInitialized", message)
        });
    let containers_ready: Failing = if phase == "Succeeded" {
        Some(("PodCompleted", String::new()))
    } else if phase == "Failed" {
        Some(("PodFailed", String::new()))
    } else {
        (unready != "[]").then(|| {
            (
                "ContainersNotReady",
                format!("containers with unready status: {unready}"),
            )
        })
    };
    let ready = containers_ready.clone().or_else(|| gates(facts, spec));
    let network: Failing = (!facts.sandbox_ready).then(|| ("", String::new()));
    let own = [
        // It is here, whether a scheduler or its author chose the node.
        ("PodScheduled", None),
        ("PodReadyToStartContainers", network),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
    ];
    let written = facts
        .pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let others = written.into_iter().flatten();
    let others = others.filter(|condition| own.iter().all(|(kind, _)| *kind != condition.type_));
    let mut all: Vec<PodCondition> = others.cloned().collect();
    all.extend(
        own.iter()
            .map(|(kind, failing)| condition(facts, kind, failing)),
    );
    all
}

fn is_past(slot: &Slot) -> bool {
    slot.started || matches!(&slot.state, super::State::Terminated(exit) if exit.code == 0)
}

fn names(facts: Facts<'_>, wanted: impl Fn(&Slot) -> bool) -> String {
    let slots = facts.lifecycle.slots.iter().filter(|slot| wanted(slot));
    format!(
        "[{}]",
        slots
            .map(|slot| slot.name.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    )
}

/// Conditions that others must fulfil before the pod counts as ready.
fn gates(facts: Facts<'_>, spec: &PodSpec) -> Failing {
    let written = facts
        .pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let is_true = |kind: &str| {
        written
            .into_iter()
            .flatten()
            .any(|c| c.type_ == kind && c.status == "True")
    };
    let gates = spec.readiness_gates.iter().flatten();
    let missing = gates
        .map(|gate| &gate.condition_type)
        .find(|kind| !is_true(kind))?;
    Some((
        "ReadinessGatesNotReady",
        format!("corresponding condition of pod readiness gate {missing:?} is not \"True\""),
    ))
}

fn condition(facts: Facts<'_>, kind: &str, failing: &Failing) -> PodCondition {
    let status = if failing.is_none() { "True" } else { "False" };
    let written = facts.previous.and_then(|status| status.conditions.as_ref());
    let before = written
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == kind);
    let unchanged = before.filter(|before| before.status == status);
    let since = unchanged
        .and_then(|condition| condition.last_transition_time.clone())
        .unwrap_or(Time(facts.now.0));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: failing.as_ref().and_then(|(reason, _)| text(reason)),
        message: failing.as_ref().and_then(|(_, message)| text(message)),
        last_transition_time: Some(since),
        ..PodCondition::default()
    }
}
