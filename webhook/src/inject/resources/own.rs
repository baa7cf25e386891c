//! What the pod and its own containers ask for, as the API server reads it.

use serde_json::Value;

use crate::{
    names::SidecarMode,
    options::Quantity,
    pod::{Container, Pod},
};

/// A half of `resources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Requests,
    Limits,
}

impl Kind {
    fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// Whether the pod as a whole has an amount of it.
pub(super) fn is_shared(pod: &Pod<'_>, name: &str) -> bool {
    let has = |kind: Kind| member(pod.spec("resources"), kind, name).is_some();
    has(Kind::Requests) || has(Kind::Limits)
}

/// What the pod as a whole has of it.
pub(super) fn of_whole(pod: &Pod<'_>, kind: Kind, name: &str) -> Option<Quantity> {
    quantity(member(pod.spec("resources"), kind, name)?)
}

/// Whether the pod is Guaranteed by its containers.
pub(super) fn is_guaranteed(pod: &Pod<'_>) -> bool {
    pod.all_containers().all(|container| {
        ["cpu", "memory"].into_iter().all(|name| {
            let limit = of(container, Kind::Limits, name);
            let request = of(container, Kind::Requests, name);
            limit.is_some_and(|limit| !limit.is_zero() && request == Some(limit))
        })
    })
}

/// The largest of the limits, if every container has one. A LimitRange allows that
/// much at least.
pub(super) fn largest_limit(pod: &Pod<'_>, name: &str) -> Option<Quantity> {
    let limit = |container| of(container, Kind::Limits, name);
    let limits: Option<Vec<_>> = pod.all_containers().map(limit).collect();
    limits?.into_iter().max()
}

/// What all containers have together, beside which ours run; nothing, if none of them
/// says. Regular containers and native sidecars run at the same time, and before that
/// each init container with the sidecars in front of it. A native sidecar of ours is in
/// front of all of them; a classic one starts later.
/// (kubernetes/kubernetes, `plugin/pkg/admission/limitranger`: `podRequests`.)
pub(super) fn total(pod: &Pod<'_>, mode: SidecarMode, kind: Kind, name: &str) -> Option<Quantity> {
    let mut sidecars = None;
    let mut at_start = None;
    for container in pod.init_containers() {
        let with_it = sum(sidecars.clone(), of(*container, kind, name));
        at_start = at_start.max(with_it.clone());
        if container.is_native_sidecar() {
            sidecars = with_it;
        }
    }
    let regular = pod.containers().iter();
    let running = regular.fold(sidecars, |all, one| sum(all, of(*one, kind, name)));
    match mode {
        SidecarMode::Native => running.max(at_start),
        SidecarMode::Classic => running,
    }
}

fn sum(one: Option<Quantity>, other: Option<Quantity>) -> Option<Quantity> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.plus(&other)),
        (one, other) => one.or(other),
    }
}

/// What a container has of it. One that has a limit and no request gets the limit as
/// its request.
fn of(container: Container<'_>, kind: Kind, name: &str) -> Option<Quantity> {
    let resources = container.get("resources");
    let own = |kind| quantity(member(resources, kind, name)?);
    match kind {
        Kind::Requests => own(kind).or_else(|| own(Kind::Limits)),
        Kind::Limits => own(kind),
    }
}

fn member<'a>(resources: Option<&'a Value>, kind: Kind, name: &str) -> Option<&'a Value> {
    let amount = resources?.get(kind.field())?.get(name)?;
    Some(amount).filter(|amount| !amount.is_null())
}

fn quantity(amount: &Value) -> Option<Quantity> {
    // Manifests may have bare numbers, which the API server turns into text.
    let text = match amount {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    text.parse().ok()
}
